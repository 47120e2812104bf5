/** `openbox sessions` and `openbox session end`: the shells that stay, of whoever is logged in. */
import { abortable, deadline } from "../../abort.ts";
import type { Session } from "../../api/sessions.ts";
import { type ExecDeps, openRun } from "../../client/exec.ts";
import { ControlError } from "../../client/control_client.ts";
import { utf8 } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import type { Host } from "../../host.ts";
import type { ByteSource } from "../../ssh/channel.ts";
import { formatDuration } from "../duration.ts";
import { openControl, readLogin } from "../login.ts";
import { printJson, printLine, printNote, printWarning } from "../output.ts";
import { formatTable } from "../table.ts";
import { askDaemon } from "../ask_daemon.ts";
import { runDeps } from "./run.ts";

export interface SessionsFlags {
  readonly json?: boolean;
}

const HEAD = ["NAME", "NODE", "ISOLATION", "STATE", "IDLE", "EXIT"] as const;

const toRow = (session: Session): string[] => [
  session.session_id,
  session.node_name,
  session.isolation,
  session.state,
  formatDuration(session.idle_ms),
  session.last_exit === null ? "-" : String(session.last_exit),
];

export async function sessions(flags: SessionsFlags, host: Host): Promise<void> {
  await using control = openControl(await readLogin(host), host);
  const found = await control.sessions({ signal: host.signal });
  if (flags.json) return printJson({ sessions: found }, host);
  await host.stdout.write(utf8(formatTable([HEAD, ...found.map(toRow)])));
  if (found.length === 0) {
    await printNote("no sessions; openbox -t TAG -s NAME COMMAND… starts one", host);
  }
}

/** Ends it on its node, then unbinds it; where the node cannot be reached, it ends with its next heartbeat. */
export async function sessionEnd(flags: SessionsFlags, host: Host, name: string): Promise<void> {
  const { signal } = host, login = await readLogin(host);
  await using control = openControl(login, host);
  const bound = await control.sessions({ signal });
  const session = bound.find(({ session_id }) => session_id === name);
  if (!session) {
    throw new OpenboxError("not_found", `You have no session ${name}`, {
      hint: "openbox sessions",
    });
  }
  const failure = await endThere(name, { ...await runDeps(login, host), control }, host);
  try {
    await control.deleteSession(name, { ended: failure === undefined }, { signal });
  } catch (error) {
    // somebody was faster
    if (!(error instanceof ControlError && error.code === "not_found")) throw error;
  }
  if (failure) {
    await printWarning(
      `the node ${session.node_name} does not answer (${failure}); it ends the session when it does`,
      host,
    );
  }
  // where it was counts no more; a daemon that does not answer finds out by itself
  await askDaemon({ ask: "forget", session: name }, host).catch(() => {});
  if (flags.json) return printJson({ session_id: name, node_id: session.node_id }, host);
  await printLine(
    failure ? `unbound ${name}` : `ended ${name} on ${session.node_name}`,
    host,
  );
}

/** For the tree of a session to be gone. */
const END_MS = 10_000;

async function readToEnd(source: ByteSource): Promise<void> {
  while (await source.read() !== null);
}

/** Why it could not be done; undefined once it is. */
async function endThere(name: string, deps: ExecDeps, host: Host): Promise<string | undefined> {
  try {
    const target = { session: name, isolation: undefined };
    await using run = await openRun(target, { endsSession: true }, deps, host);
    run.endInput();
    const late = () => new OpenboxError("node_timeout", "it did not end in time");
    using limit = deadline(END_MS, late, host);
    const [{ outcome, error }] = await abortable(
      Promise.all([run.end, readToEnd(run.stdout), readToEnd(run.stderr)]),
      limit.signal,
    );
    return outcome === "exit" ? undefined : error?.message ?? outcome;
  } catch (error) {
    if (host.signal.aborted || !(error instanceof OpenboxError)) throw error;
    return error.message;
  }
}
