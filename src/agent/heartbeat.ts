/**
 * The node's signs of life. What comes back keeps it current: the control plane's time, a new host
 * certificate, and the word that it was removed, which is the only thing that ends this.
 */
import type { AbortOptions } from "../abort.ts";
import { MAX_NODE_SESSIONS, type NodeSession as ApiSession } from "../api/sessions.ts";
import { CA_KINDS, followCa, keysFingerprint } from "../ca/trust.ts";
import type { ControlClient } from "../client/control_client.ts";
import type { Clock } from "../clock.ts";
import { OpenboxError, toOpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import type { SessionState, SessionTable } from "../session/table.ts";
import { VERSION } from "../version.ts";
import { checkHostCert } from "./enroll.ts";
import type { NodeState } from "./state.ts";

export interface HeartbeatDeps {
  readonly control: Pick<ControlClient, "heartbeat">;
  readonly clock: Clock;
  readonly bootId: string;
  /** What the node is by now. */
  readonly node: {
    readonly state: NodeState;
    /** Stores it first, so that what is used is what a restart finds. */
    update(change: Partial<NodeState>): Promise<void>;
    /** How far this machine's clock is ahead of the control plane's, once that is known. */
    clockAheadMs: number | undefined;
  };
  readonly sessions: Pick<SessionTable, "list" | "end" | "onChange">;
  /** Looks where the node can be reached now, moves there if that changed, and says so. */
  addr(options: AbortOptions): Promise<string>;
  /** 0 to 1. */
  random(): number;
}

const BEAT_MS = 30_000;
/** How soon the control plane hears of what changed with the sessions. */
const SOON_MS = 2_000;
const FIRST_RETRY_MS = 1_000, MAX_RETRY_MS = 60_000;
/** What an answer changed is told at once; a control plane that changes something each time has to wait. */
const MOST_AT_ONCE = 3;
/** Between two lines of the log about what goes on failing. */
const COMPLAINT_MS = 60_000;

/** Beats at once and until `signal` aborts, which resolves it. Rejects with `node_deleted`, and with nothing else. */
export async function beat(deps: HeartbeatDeps, signal: AbortSignal): Promise<void> {
  const { clock, random, sessions } = deps;
  let changed = false, hurry = () => {};
  using _watching = sessions.onChange(() => {
    changed = true;
    hurry();
  });
  let retryMs = FIRST_RETRY_MS, complainedAt = -Infinity, failing = false, atOnce = 0;
  while (!signal.aborted) {
    changed = false;
    try {
      const news = await beatOnce(deps, signal);
      if (failing) log("agent").info("the control plane answers again");
      failing = false;
      retryMs = FIRST_RETRY_MS;
      if (news && atOnce++ < MOST_AT_ONCE) continue;
      atOnce = 0;
    } catch (error) {
      if (signal.aborted) return;
      const failure = toOpenboxError(error);
      if (failure.code === "node_deleted") throw failure;
      failing = true;
      if (clock.now() - complainedAt >= COMPLAINT_MS) {
        complainedAt = clock.now();
        log("agent").warn("the heartbeat failed; trying on: {error}", { error: failure });
      }
    }
    // up to a tenth more or less, so that nodes which started together do not beat together
    const waitMs = (failing ? retryMs : BEAT_MS) * (0.9 + 0.2 * random());
    if (failing) retryMs = Math.min(retryMs * 2, MAX_RETRY_MS / 1.1);
    const early = new AbortController();
    const waiting = { signal: AbortSignal.any([signal, early.signal]) };
    if (!failing) {
      hurry = () => {
        hurry = () => {};
        clock.sleep(SOON_MS, waiting).then(() => early.abort(), () => {});
      };
      if (changed) hurry();
    }
    await clock.sleep(waitMs, waiting).catch(() => {});
    hurry = () => {};
    early.abort();
  }
}

/** Whether the answer changed what this node trusts or shows, which the control plane waits to hear. */
async function beatOnce(
  { control, clock, bootId, node, addr, sessions }: HeartbeatDeps,
  signal: AbortSignal,
): Promise<boolean> {
  const where = await addr({ signal });
  const reports = reportSessions(sessions.list());
  const sentAt = clock.now();
  const answer = await control.heartbeat({
    node_id: node.state.nodeId,
    addr: where,
    version: VERSION,
    boot_id: bootId,
    host_cert_serial: String(node.state.hostCert.serial),
    ca_trusted: {
      host: keysFingerprint(node.state.ca.host.keys),
      user: keysFingerprint(node.state.ca.user.keys),
    },
    load: Deno.loadavg(),
    ...(reports.length > 0 && { sessions: reports }),
  }, { signal });
  // the answer names whole seconds; half of one is what they lack on average
  node.clockAheadMs = (sentAt + clock.now()) / 2 - (answer.server_time * 1000 + 500);
  for (const { user_id: userId, name } of answer.end_sessions ?? []) {
    await sessions.end({ userId, name });
    log("agent", "session").info("session ended from the control plane", { session: name });
  }
  const followed = await follow(answer.ca_rotations ?? [], node);
  if (answer.host_cert !== undefined) await renew(answer.host_cert, node);
  return followed || answer.host_cert !== undefined;
}

/** Trust goes only where a key that is trusted already leads; what else is said changes nothing. */
async function follow(
  statements: readonly string[],
  node: HeartbeatDeps["node"],
): Promise<boolean> {
  const { ca: before } = node.state, ca = followCa(before, statements);
  if (ca === before) return false;
  await node.update({ ca });
  for (const kind of CA_KINDS) {
    if (ca[kind] === before[kind]) continue;
    const keys = ca[kind].keys.map((key) => keysFingerprint([key])).join(", ");
    log("agent").info("the {kind} CA is rotated; trusted now: {keys}", { kind, keys });
  }
  return true;
}

/** Of the 64 KiB that the control plane takes; the rest is for the other fields. */
const MAX_REPORT_BYTES = 60 * 1024;
/** The control plane knows it from the binding. */
const MAX_ISOLATION = 64;

/** Those that live, then those lost last: where a beat has no room for more, older losses are left out. */
export function reportSessions(states: readonly SessionState[]): ApiSession[] {
  const isLost = ({ state }: SessionState) => state === "lost";
  const live = states.filter((state) => !isLost(state));
  const ordered = [...live, ...states.filter(isLost).reverse()];
  let bytes = 0;
  return ordered.slice(0, MAX_NODE_SESSIONS).map(toApi)
    .filter((report) => (bytes += JSON.stringify(report).length + 1) <= MAX_REPORT_BYTES);
}

const toApi = (state: SessionState): ApiSession => ({
  user_id: state.userId,
  name: state.name,
  isolation: state.isolation.slice(0, MAX_ISOLATION),
  idle_ms: Math.floor(state.idleMs),
  last_exit: state.lastExit ?? null,
  state: state.state,
});

/** One that is not ours is an error of the control plane, and the old one stays. */
async function renew(line: string, node: HeartbeatDeps["node"]): Promise<void> {
  const hostCert = checkHostCert(line, node.state);
  await node.update({ hostCert });
  const until = new Date(Number(hostCert.validBefore) * 1000).toISOString().slice(0, 10);
  log("agent").info("host certificate renewed, valid until {until}", { until });
}

export const removedError = (nodeId: string): OpenboxError =>
  new OpenboxError("node_deleted", `This machine is no node any more: ${nodeId} was removed`, {
    hint: "openbox node token, where you are logged in, makes the token to enroll it anew",
  });
