/**
 * The node's signs of life. What comes back keeps it current: the control plane's time, a new host
 * certificate, and the word that it was removed, which is the only thing that ends this.
 */
import type { AbortOptions } from "../abort.ts";
import { MAX_NODE_SESSIONS, type NodeSession as ApiSession } from "../api/sessions.ts";
import type { HeldRevocationsAnswer, SignedStatement } from "../api/revocations.ts";
import { CA_KINDS, followCa, keysFingerprint } from "../ca/trust.ts";
import { type ControlClient, ControlError } from "../client/control_client.ts";
import type { RevokedEntry } from "../client/revocation_list.ts";
import type { Clock } from "../clock.ts";
import { OpenboxError, toOpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import type { SessionState, SessionTable } from "../session/table.ts";
import { VERSION } from "../version.ts";
import { checkHostCert } from "./enroll.ts";
import type { Revocations } from "./revocations.ts";
import type { NodeState } from "./state.ts";

export interface HeartbeatDeps {
  readonly control: Pick<ControlClient, "heartbeat" | "giveBackRevocations">;
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
  readonly revocations: Pick<Revocations, "held" | "statement" | "take">;
  /** A list came that names these, and the one before did not. */
  onRevoked(added: readonly RevokedEntry[]): Promise<void>;
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
  deps: HeartbeatDeps,
  signal: AbortSignal,
): Promise<boolean> {
  const { control, clock, bootId, node, addr, sessions, revocations } = deps;
  const where = await addr({ signal });
  const reports = reportSessions(sessions.list());
  const sentAt = clock.now(), { held } = revocations;
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
    ...(held && {
      revocations_version: held.version,
      revocations_issued_at: Math.floor(held.issuedAt / 1000),
    }),
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
  if (answer.send_revocations) await giveBack(deps, signal);
  else if (answer.revocation_list) await takeRevocations(answer.revocation_list, deps);
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

/** The control plane does not know the list that is held here, as after its restore from a backup. */
async function giveBack(deps: HeartbeatDeps, signal: AbortSignal): Promise<void> {
  const { control, node, revocations: { held, statement } } = deps;
  if (!held || !statement) return;
  let answer: HeldRevocationsAnswer;
  try {
    answer = await control.giveBackRevocations({
      node_id: node.state.nodeId,
      revocation_list: statement,
    }, { signal });
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    log("agent", "revocation").warn("the control plane takes no list back: {error}", { error });
    // as one that holds none it is told the control plane's own, and judges that
    const revocations = { ...deps.revocations, held: undefined };
    await beatOnce({ ...deps, revocations }, signal);
    return;
  }
  log("agent", "revocation").warn("the control plane had forgotten revocations; it has them again");
  if (answer.revocation_list) await takeRevocations(answer.revocation_list, deps);
}

/** One that is refused is an error of the control plane, or of who speaks for it; the one held stays. */
async function takeRevocations(
  statement: SignedStatement,
  { revocations, onRevoked }: HeartbeatDeps,
): Promise<void> {
  await onRevoked(await revocations.take(statement));
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
