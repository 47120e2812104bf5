/**
 * What this node is not to believe any more: the newest list that its control plane signed, kept on disk,
 * so that a restart knows it before the first connection. Versions only rise; what is damaged, forged or
 * older than the one held is refused, and the one held stays.
 */
import * as v from "valibot";
import { SignedStatement } from "../api/revocations.ts";
import type { VerifiedUser } from "../ca/verifier.ts";
import {
  claimedIssue,
  isStale,
  type RevokedEntry,
  type VerifiedRevocations,
  verifyRevocationList,
} from "../client/revocation_list.ts";
import type { Clock } from "../clock.ts";
import { OpenboxError, toOpenboxError } from "../errors.ts";
import { readKeptJson } from "../home/kept_json.ts";
import { writePrivateFile } from "../home/private_file.ts";
import { log } from "../log.ts";
import type { AgentRules } from "./rules.ts";
import type { NodeState } from "./state.ts";

export interface Revocations {
  /** Which list is held, for the control plane; undefined where there is none, or none that may be used. */
  readonly held: { readonly version: number; readonly issuedAt: number } | undefined;
  /** The list that is held, for a control plane that forgot it. */
  readonly statement: SignedStatement | undefined;
  /** Why this user may do nothing more here: revoked, or nobody can tell (`revocations_stale`). */
  refusal(user: VerifiedUser): OpenboxError | undefined;
  /** Only whether the list names him. */
  revoked(user: VerifiedUser): OpenboxError | undefined;
  /**
   * Believes a list that is newer than the one held, at once and before it is on disk; returns what it
   * names that the one before did not. Throws for one that cannot be believed.
   */
  take(statement: SignedStatement): Promise<readonly RevokedEntry[]>;
}

export interface RevocationsDeps {
  /** `agent/revocations.json` */
  readonly path: string;
  readonly node: {
    readonly state: NodeState;
    update(change: Partial<NodeState>): Promise<void>;
  };
  readonly rules: Pick<AgentRules, "revocation">;
  readonly clock: Clock;
}

/** A control plane's clock may be ahead of ours by as much as a certificate's margin. */
const AHEAD_MS = 5 * 60_000;

const VERSION = 1;
const ListFile = v.object({ version: v.literal(VERSION), statement: SignedStatement });
const KIND = {
  schema: ListFile,
  version: VERSION,
  what: "a revocation list",
  goKey: "revocations",
  remedy: "wait for the next heartbeat",
  maxBytes: 8 * 1024 * 1024,
} as const;

interface Held {
  readonly list: VerifiedRevocations;
  readonly statement: SignedStatement;
}

export async function openRevocations(deps: RevocationsDeps): Promise<Revocations> {
  const { path, node, rules, clock } = deps;
  const verify = (statement: SignedStatement, now: number) =>
    verifyRevocationList(statement, {
      authorities: node.state.ca.host.keys,
      accountId: node.state.accountId,
      now,
    });
  let held = await readHeld(path, node.state, verify);
  let index = indexOf(held?.list.entries ?? []);

  function stale(): string | undefined {
    if (rules.revocation === "soft") return undefined;
    if (held) {
      return isStale(held.list.issuedAt, clock.now())
        ? "heard nothing of revocations for a day"
        : undefined;
    }
    // a node that was never told of a list belongs to a control plane that has none
    return node.state.revocationsFloor === undefined ? undefined : "lost its list of revocations";
  }

  async function keep(statement: SignedStatement, version: number): Promise<void> {
    await writePrivateFile(path, JSON.stringify({ version: VERSION, statement }) + "\n");
    if (node.state.revocationsFloor !== version) await node.update({ revocationsFloor: version });
  }

  const revoked = (user: VerifiedUser) => {
    const what = index(user);
    return what === undefined ? undefined : new OpenboxError("revoked", `${what} was revoked`);
  };

  return {
    get held() {
      return held && { version: held.list.version, issuedAt: held.list.issuedAt };
    },
    get statement() {
      return held?.statement;
    },
    revoked,
    refusal(user) {
      const found = revoked(user);
      if (found) return found;
      const why = stale();
      return why === undefined ? undefined : new OpenboxError(
        "revocations_stale",
        `The node ${why}: it takes nobody until its control plane answers`,
      );
    },
    async take(statement) {
      const now = clock.now(), list = verify(statement, now);
      const { serial, fingerprint } = list.signer;
      if (index.certs.has(String(serial)) || index.keys.has(fingerprint)) {
        throw refused("the key that signed it is revoked");
      }
      if (list.issuedAt > now + AHEAD_MS) throw refused("it is from the future", CLOCK_HINT);
      const floor = Math.max(node.state.revocationsFloor ?? 0, held?.list.version ?? 0);
      if (list.version < floor) throw refused("it is older than one that this node held");
      if (held && !isNewer(list, held.list, now)) return [];
      const before = held?.list.entries ?? [];
      held = { list, statement };
      index = indexOf(list.entries);
      await keep(statement, list.version).catch((error) =>
        // it holds all the same, until the next start
        log("agent", "revocation").error("a revocation list cannot be written", { error })
      );
      return difference(list.entries, before);
    },
  };
}

/** What cannot be used is told and left; without it the node waits for its control plane. */
async function readHeld(
  path: string,
  { revocationsFloor: floor = 0 }: NodeState,
  verify: (statement: SignedStatement, now: number) => VerifiedRevocations,
): Promise<Held | undefined> {
  try {
    const file = await readKeptJson(path, KIND);
    if (!file) return undefined;
    const { statement } = file;
    // as it was judged when it came: its age is looked at apart
    const list = verify(statement, claimedIssue(statement) ?? 0);
    if (list.version < floor) throw refused("it is older than one that this node held");
    return { list, statement };
  } catch (error) {
    log("agent").error("the revocation list on disk cannot be used: {error}", {
      error: toOpenboxError(error),
    });
    return undefined;
  }
}

/** Of one version, the one signed later; a list from the future was signed by a clock that was set back since. */
function isNewer(list: VerifiedRevocations, held: VerifiedRevocations, now: number): boolean {
  if (list.version !== held.version) return list.version > held.version;
  return list.issuedAt > held.issuedAt || held.issuedAt > now + AHEAD_MS;
}

/** What of a user is revoked, in words; undefined where nothing is. */
interface Index {
  (user: VerifiedUser): string | undefined;
  /** Serials. */
  readonly certs: ReadonlySet<string>;
  /** Fingerprints. */
  readonly keys: ReadonlySet<string>;
}

function indexOf(entries: readonly RevokedEntry[]): Index {
  const ids = (kind: RevokedEntry["kind"]) =>
    new Set(entries.filter((entry) => entry.kind === kind).map(({ id }) => id));
  const before = (kind: RevokedEntry["kind"]) =>
    new Map(
      entries.filter((entry) => entry.kind === kind)
        // an entry without a time is for ever
        .map(({ id, issuedBefore = Infinity }) => [id, issuedBefore]),
    );
  const tokens = ids("token"), certs = ids("cert"), keys = ids("key");
  const users = before("user"), accounts = before("account");
  const find = (user: VerifiedUser): string | undefined => {
    const { tokenId, issuedAt } = user;
    if (tokenId !== undefined && tokens.has(tokenId)) return `The token ${tokenId}`;
    if (issuedAt < (users.get(user.userId) ?? -Infinity)) return `The user ${user.userName}`;
    if (certs.has(String(user.serial))) return `The certificate ${user.serial}`;
    for (const key of [user.keyFingerprint, user.authorityFingerprint]) {
      if (keys.has(key)) return `The key ${key}`;
    }
    if (issuedAt < (accounts.get(user.accountId) ?? -Infinity)) return "Every certificate so far";
    return undefined;
  };
  return Object.assign(find, { certs, keys });
}

function difference(
  entries: readonly RevokedEntry[],
  before: readonly RevokedEntry[],
): readonly RevokedEntry[] {
  const key = ({ kind, id, issuedBefore }: RevokedEntry) => `${kind} ${issuedBefore} ${id}`;
  const known = new Set(before.map(key));
  return entries.filter((entry) => !known.has(key(entry)));
}

const CLOCK_HINT = "compare `date -u` on both machines";

const refused = (why: string, hint?: string) =>
  new OpenboxError("cert_refused", `A revocation list is refused: ${why}`, { hint });
