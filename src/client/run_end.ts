/** How a run ended, from what the node and the channel say of it. */
import * as v from "valibot";
import { Outcome, OUTCOME_REQUEST } from "../api/run.ts";
import { text } from "../bytes.ts";
import { toOpenboxError } from "../errors.ts";
import { ChannelRefusedError } from "../ssh/connection.ts";
import type { ClientChannel, RemoteExit } from "../ssh/channel.ts";

/** How the run on this channel ended. Never rejects: what nobody can tell is `lost`. `name` is the node's. */
export async function readEnd(channel: ClientChannel, name: string): Promise<Outcome> {
  let exit: RemoteExit | undefined, why = "it closed without saying how the command ended";
  try {
    exit = await channel.exit;
  } catch (error) {
    if (error instanceof ChannelRefusedError) return notTaken(error, name);
    why = toOpenboxError(error).message;
  }
  // what the node knows stands above the bare status, also when the connection broke after it
  const told = parseOutcome(channel.received(OUTCOME_REQUEST));
  if (told) return told;
  if (exit) return fromExit(exit);
  return {
    outcome: "lost",
    code: 255,
    signal: null,
    session: null,
    error: {
      code: "lost",
      message: `The connection to ${name} is lost while the command ran: ${why}`,
      hint: "whether it ended is unknown; what was still running is ended by the node",
    },
  };
}

/** Of an agent that knows no such request: nothing has started. */
const notTaken = ({ message }: Error, name: string): Outcome => ({
  outcome: "not_started",
  code: 255,
  signal: null,
  session: null,
  error: {
    code: "unavailable",
    message: `The node ${name} takes no command: ${message}`,
    hint: "its openbox may be older than this one",
  },
});

function parseOutcome(payload: Uint8Array | undefined): Outcome | undefined {
  if (!payload) return undefined;
  try {
    const outcome = v.parse(Outcome, JSON.parse(text(payload)));
    return { ...outcome, code: exitByte(outcome.code) };
  } catch {
    return undefined;
  }
}

/** From a far end without our outcome, such as stock sshd. */
function fromExit(exit: RemoteExit): Outcome {
  const rest = { error: null, session: null };
  if (exit.kind === "exit") {
    return { outcome: "exit", code: exitByte(exit.code), signal: null, ...rest };
  }
  const number = SIGNALS[exit.signal];
  const code = number === undefined ? 255 : 128 + number;
  return { outcome: "signal", code, signal: exit.signal, ...rest };
}

/** A process exits with a byte: 256 would wrap to success. */
const exitByte = (code: number): number =>
  Number.isInteger(code) && code >= 0 && code <= 255 ? code : 255;

/** The signals of RFC 4254 §6.10 and their numbers, the same on Linux and macOS but for USR1 and USR2. */
const SIGNALS: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  ABRT: 6,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
};
