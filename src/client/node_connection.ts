/** The connection to a node that was placed: dialled, and proved on both ends. */
import type { Socket } from "node:net";
import { type AbortOptions, abortReason, deadline } from "../abort.ts";
import type { DispatchAnswer } from "../api/dispatch.ts";
import { verifyHostCert } from "../ca/verifier.ts";
import type { Clock } from "../clock.ts";
import { isCode, OpenboxError, toOpenboxError } from "../errors.ts";
import {
  AuthRefusedError,
  connectSsh,
  NotAnsweredError,
  type SshConnection,
} from "../ssh/client.ts";
import { ChannelRefusedError } from "../ssh/connection.ts";
import { type PrivateKey, splitLine } from "../ssh/key.ts";
import type { Placement } from "./placement.ts";

export interface ConnectDeps {
  readonly key: PrivateKey;
  readonly clock: Clock;
  /** Connects to a node's address. */
  dial(addr: string, options: Required<AbortOptions>): Promise<Socket>;
}

/** From the dial to the open channel, tries included (docs/protocol.md). */
const CONNECT_MS = 10_000;
/** Between tries where the node's waiting line was full, the half of it at random. */
const RETRY_MS = 300;

/**
 * Does `act` with a connection to the node, all in one budget of time. What goes wrong is told in words
 * for the person who asked; nothing has started then. The connection is the caller's to dispose.
 */
export async function reachNode<T>(
  placement: Placement,
  deps: ConnectDeps,
  { signal }: Required<AbortOptions>,
  act: (connection: SshConnection, options: Required<AbortOptions>) => Promise<T>,
): Promise<T> {
  const { node_name: name, addr } = placement.answer;
  let lastTry = "";
  const tooLate = () =>
    new OpenboxError(
      "node_timeout",
      `The node ${name} at ${addr} did not answer within ${CONNECT_MS / 1000} s${lastTry}`,
      { hint: "openbox nodes" },
    );
  using limit = deadline(CONNECT_MS, tooLate, { signal });
  let connection: SshConnection | undefined;
  try {
    connection = await connect(placement, deps, {
      signal: limit.signal,
      onRetry: ({ message }) => lastTry = `: ${message}`,
    });
    return await act(connection, limit);
  } catch (error) {
    await connection?.[Symbol.asyncDispose]();
    throw limit.signal.aborted ? abortReason(limit.signal) : refusal(error, placement.answer);
  }
}

async function connect(
  placement: Placement,
  deps: ConnectDeps,
  { signal, onRetry }: Required<AbortOptions> & { onRetry(error: Error): void },
): Promise<SshConnection> {
  for (;;) {
    try {
      return await connectOnce(placement, deps, signal);
    } catch (error) {
      if (!(error instanceof NotAnsweredError) || signal.aborted) throw error;
      onRetry(error);
      // its waiting line was full: nothing ran, and soon there is room
      await deps.clock.sleep(RETRY_MS * (1 + Math.random()) / 2, { signal });
    }
  }
}

async function connectOnce(
  { answer, ca }: Placement,
  deps: ConnectDeps,
  signal: AbortSignal,
): Promise<SshConnection> {
  const socket = await deps.dial(answer.addr, { signal });
  return await connectSsh({
    socket,
    username: answer.principal,
    key: deps.key,
    certificate: splitLine(answer.user_cert).blob,
    verifyHost: (certificate) =>
      verifyHostCert(certificate, {
        authorities: ca.host.keys,
        nodeId: answer.node_id,
        now: deps.clock.now(),
      }).key,
    signal,
  });
}

/** Why there is no connection, in words for the person who asked. Nothing has started. */
export function refusal(error: unknown, answer: DispatchAnswer): OpenboxError {
  const { node_name: name, addr } = answer;
  if (error instanceof AuthRefusedError) return authRefusal(error.banner, name);
  if (error instanceof OpenboxError) {
    return new OpenboxError(error.code, error.message, {
      hint: error.hint ?? "openbox nodes shows the address; another machine may have it now",
      cause: error,
    });
  }
  if (error instanceof ChannelRefusedError) {
    return new OpenboxError("unavailable", `The node ${name} takes no command: ${error.message}`, {
      hint: "too many run on it, or its openbox is older than this one",
      cause: error,
    });
  }
  const { code } = error as { code?: string };
  const reason = code === "ECONNREFUSED"
    ? `nothing listens on ${addr}`
    : `${addr}: ${toOpenboxError(error).message}`;
  return new OpenboxError("node_unreachable", `Cannot reach the node ${name}: ${reason}`, {
    hint: "is `openbox agent` running there? openbox nodes shows what is online",
    cause: error,
  });
}

/** The agent tells the holder of a certificate that our CA signed, and nobody else, why it refuses. */
function authRefusal(banner: string | undefined, name: string): OpenboxError {
  const told = /^openbox: ([a-z_]+): (.*)$/.exec(banner ?? "");
  if (!told || !isCode(told[1]!)) {
    return new OpenboxError("cert_refused", `The node ${name} refused us and gave no reason`, {
      hint: "its agent may belong to another control plane; its log says more",
    });
  }
  // one that was issued a moment ago cannot have ended: the clocks differ
  const code = told[1] === "cert_expired" ? "clock_skew" : told[1];
  return new OpenboxError(code, `The node ${name} refused us: ${told[2]}`, {
    hint: code === "clock_skew" ? "compare `date -u` on both machines" : undefined,
  });
}
