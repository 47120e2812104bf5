/**
 * What the control plane remembers, in the domain's words. Every method is one transaction; what it
 * acknowledged survives a kill -9, save the three times that are only held (see `flush`). Every look-up
 * names its account, except those that begin with a secret and learn the account from it. One that
 * changes something takes the entry that tells of it and writes both or neither; where nothing was
 * changed nothing is told. The times that are held and what nodes say of themselves are not told.
 *
 * A method rejects with `database_unavailable` when the database did not do its part. Nothing was changed
 * then, unless the database went away in the very moment of the commit: nobody knows then.
 * Secrets are hashed in here: no text of one reaches a table.
 */
import type { AbortOptions } from "../abort.ts";
import type { Secret } from "../secret.ts";
import type { AuditEntry, AuditHead, AuditRecord } from "./audit.ts";

export interface User {
  readonly accountId: string;
  readonly id: string;
  readonly name: string;
}

/** A user as one of his tokens proves him. */
export interface TokenUser extends User {
  readonly tokenId: string;
  readonly tokenExpiresAt: number;
  /** As the database knows it, at most some seconds late; undefined before the first use. */
  readonly tokenLastUsedAt: number | undefined;
}

export interface NewUserToken {
  readonly token: Secret;
  /** For people: where it came from. */
  readonly name: string;
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface NewEnrollToken {
  readonly accountId: string;
  readonly createdBy: string;
  readonly secret: Secret;
  readonly tags: readonly string[];
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface Registration {
  readonly secret: Secret;
  readonly nodeId: string;
  readonly nodeToken: Secret;
  readonly name: string;
  readonly addr: string;
  readonly os: string;
  readonly arch: string;
  /** In authorized_keys form, without a comment: equal keys are equal texts. */
  readonly hostKey: string;
  readonly now: number;
}

export interface Node {
  readonly accountId: string;
  readonly id: string;
  readonly name: string;
  readonly addr: string;
  readonly os: string;
  readonly arch: string;
  readonly tags: readonly string[];
  readonly createdAt: number;
  /** 0 before the first heartbeat. */
  readonly lastSeenAt: number;
}

/** The newest host certificate of a node. Times are epoch milliseconds. */
export interface HostCertRecord {
  readonly serial: bigint;
  readonly validAfter: number;
  readonly validBefore: number;
  /** Fingerprint of the host CA key that signed it; undefined for one from before CAs were rotated. */
  readonly authority?: string;
}

/** What a node knows of the CA, as fingerprints; undefined: it has said nothing of it. */
export interface CaKnown {
  /** Of the user CA keys that it trusts. */
  readonly caAcknowledged?: string;
  /** Of the host CA key that signed the certificate which it holds. */
  readonly certHeld?: string;
}

/** A node as those see it who rotate the CA. */
export interface CaNode extends CaKnown {
  readonly id: string;
  readonly name: string;
  readonly lastSeenAt: number;
}

/** One step in the life of the CA's keys of a kind, numbered from 1. */
export interface CaStep {
  readonly kind: "host" | "user";
  readonly seq: number;
  readonly step: "init" | "update" | "finish" | "rollback" | "emergency";
  /** For those who trust the keys before it; undefined where the step changes no trust. */
  readonly statement: string | undefined;
  readonly at: number;
}

/** The CA's sealed keys. */
export interface CaText {
  /** Grows with each change. */
  readonly version: number;
  readonly text: string;
}

/** A node as its own token proves it: what its heartbeat is judged by. */
export interface EnrolledNode extends CaKnown {
  readonly accountId: string;
  readonly id: string;
  readonly name: string;
  readonly addr: string;
  readonly hostKey: string;
  readonly version: string | undefined;
  readonly bootId: string | undefined;
  readonly hostCert: HostCertRecord | undefined;
  /** As the database knows it, at most some seconds late; 0 before the first heartbeat. */
  readonly storedSeenAt: number;
  /** Set: it was removed, and its agent is to be told. */
  readonly deletedAt: number | undefined;
}

/** What a heartbeat says of its node; undefined leaves what is known. */
export interface Beat {
  readonly addr: string | undefined;
  readonly version: string | undefined;
  readonly bootId: string | undefined;
  readonly caAcknowledged?: string;
  readonly certHeld?: string;
  readonly now: number;
}

/** What a caller asked for; `any` is the account's only node. */
export type Target =
  | { readonly kind: "tag"; readonly tag: string }
  /** An id or a name. */
  | { readonly kind: "node"; readonly node: string }
  | { readonly kind: "any" };

/** A node that a target may mean, with what a dispatch needs of it. */
export interface Candidate extends CaKnown {
  readonly id: string;
  readonly name: string;
  readonly addr: string;
  readonly hostKey: string;
  readonly lastSeenAt: number;
}

/** A session within an account. */
export interface SessionRef {
  readonly userId: string;
  readonly name: string;
}

/** To which node a session belongs, and in what it runs there. */
export interface Binding {
  readonly node: Candidate;
  readonly isolation: string;
}

/** A session as its node tells of it. */
export interface SessionReport extends SessionRef {
  readonly idleMs: number;
  readonly lastExit: number | undefined;
  readonly state: "idle" | "busy" | "lost";
}

export interface Session extends SessionRef {
  readonly isolation: string;
  readonly createdAt: number;
  readonly lastUsedAt: number;
  readonly lastExit: number | undefined;
  /** `new` until the node said something of it, then what it said last; `ended`: the node has it no more. */
  readonly state: string;
  readonly nodeId: string;
  readonly nodeName: string;
  readonly nodeSeenAt: number;
}

/** Which records: the first `limit` behind the record `after`, or the last ones. */
export interface AuditQuery {
  readonly after: number;
  readonly limit: number;
  readonly newest?: boolean;
  /** Epoch milliseconds. */
  readonly since?: number;
  readonly installation?: boolean;
}

export interface AuditCheck {
  /** The last record that is as it was written. */
  readonly head: AuditHead;
  /** The first one that is not: changed, missing, out of order. */
  readonly bad: { readonly seq: number; readonly why: string } | undefined;
}

export interface Store extends AsyncDisposable {
  /** Resolves when the database answered. */
  ping(): Promise<void>;

  /** Makes an account with its first user. */
  createAccount(userName: string, now: number, audit: AuditEntry): Promise<User>;
  /** The user who came with the oldest account; undefined before the first start was through. */
  firstUser(): Promise<User | undefined>;
  /** That user, made where there is none: of several control planes that start at once one makes it. */
  ensureFirstUser(userName: string, now: number, audit: AuditEntry): Promise<User>;
  /** The users of this name, of every account. For the person at the machine, never for a caller. */
  usersNamed(name: string): Promise<readonly User[]>;
  hasUserToken(user: User): Promise<boolean>;
  /** Returns the token's id. Rejects with `conflict` for a token that is known already. */
  addUserToken(user: User, token: NewUserToken, audit: AuditEntry): Promise<string>;
  /** Undefined for a token that is unknown or over; else it counts as used. */
  userByToken(token: Secret, now: number): Promise<TokenUser | undefined>;

  addEnrollToken(token: NewEnrollToken, audit: AuditEntry): Promise<void>;
  /**
   * Spends the token and makes the node with the tags that the token grants. Of two callers with one
   * token one wins. Rejects with `enroll_token_invalid`, `enroll_token_used`, or `conflict` where the
   * host key is a living node's; nothing is spent then.
   */
  registerNode(registration: Registration, audit: AuditEntry): Promise<Node>;

  /** Also of a deleted node. */
  nodeByToken(token: Secret): Promise<EnrolledNode | undefined>;
  /** The node is seen now; what changed is written at once. */
  recordBeat(node: EnrolledNode, beat: Beat): Promise<void>;
  recordHostCert(
    accountId: string,
    nodeId: string,
    cert: HostCertRecord,
    audit: AuditEntry,
  ): Promise<void>;

  /** By name, then id. */
  nodes(accountId: string, filter: { readonly tag?: string }): Promise<readonly Node[]>;
  node(accountId: string, nodeId: string): Promise<Node | undefined>;
  /** Undefined where there is no such node. */
  updateNode(
    accountId: string,
    nodeId: string,
    desired: { readonly name: string; readonly tags: readonly string[] },
    audit: AuditEntry,
  ): Promise<Node | undefined>;
  /** Its sessions are bound no more. False where there is no such node. */
  deleteNode(
    accountId: string,
    nodeId: string,
    now: number,
    audit: AuditEntry,
  ): Promise<boolean>;
  candidates(accountId: string, target: Target): Promise<readonly Candidate[]>;
  /** The tags in use, sorted. */
  tags(accountId: string): Promise<readonly string[]>;

  /** Where the user's session lives, which counts as used; undefined where it is bound to no node. */
  binding(user: User, name: string, now: number): Promise<Binding | undefined>;
  /**
   * Binds the session, unless it is bound already: two callers at once get the same node. Rejects with
   * `conflict` while the one before, of the same name and on the same node, is being ended.
   */
  bindSession(
    user: User,
    name: string,
    wanted: { readonly nodeId: string; readonly isolation: string },
    now: number,
    audit: AuditEntry,
  ): Promise<Binding & { readonly created: boolean }>;
  /** Most recently used first. */
  sessions(user: User): Promise<readonly Session[]>;
  /** False where there is none. Unless the caller ended the shell, the node is told to, with its heartbeat. */
  unbindSession(
    user: User,
    name: string,
    options: { readonly ended: boolean; readonly now: number },
    audit: AuditEntry,
  ): Promise<boolean>;
  /**
   * What the node says of all its sessions; returns those that it is to end. Which were lost or have
   * ended is told, each as `audit` says it.
   */
  recordSessions(
    node: EnrolledNode,
    reports: readonly SessionReport[],
    now: number,
    audit: AuditEntry,
  ): Promise<readonly SessionRef[]>;

  /** Another text after each change of what the next two read: cheap, for every request. */
  caVersion(): Promise<string>;
  /** By kind, in their order. */
  caSteps(): Promise<readonly CaStep[]>;
  /** Undefined where the keys were never put here. */
  caText(): Promise<CaText | undefined>;
  /** Replaces the text of `version`, or puts the first one (0). False where another was faster. */
  putCaText(text: CaText, audit: AuditEntry): Promise<boolean>;
  /** With the text that goes with them, where that is kept here. Rejects with `conflict` where another was faster. */
  addCaSteps(
    steps: readonly CaStep[],
    text: CaText | undefined,
    audit: AuditEntry,
  ): Promise<void>;
  /** The nodes of all accounts, by name. */
  caNodes(): Promise<readonly CaNode[]>;

  /** The first of `count` serials that nobody else gets, ever. */
  reserveSerials(count: number, now: number): Promise<bigint>;

  /** What a node tells of its runs: of one spool each number once, in its order. */
  recordRunEvents(
    node: EnrolledNode,
    spool: string,
    events: readonly { readonly n: number; readonly entry: AuditEntry }[],
  ): Promise<void>;
  /** Appends what changes nothing else: an answer that was given, a call that was refused. */
  recordAudit(entries: readonly AuditEntry[]): Promise<void>;
  /** In their order; `installation`: with the records that belong to no account. */
  auditRecords(accountId: string, query: AuditQuery): Promise<readonly AuditRecord[]>;
  auditHead(): Promise<AuditHead>;
  /**
   * Recomputes the whole chain, of all accounts; `kept` are heads that were written down elsewhere, which
   * must be part of it. Rejects with the signal's reason when that aborts.
   */
  verifyAudit(
    options: AbortOptions & { readonly kept?: readonly AuditHead[] },
  ): Promise<AuditCheck>;
  /** Of users and nodes of the account, removed ones too; an unknown id has none. */
  namesOf(accountId: string, ids: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** The one that also answers for the installation. */
  isFirstAccount(accountId: string): Promise<boolean>;

  /**
   * Writes the times that were only held: when nodes were heard, and tokens and sessions used. Reads
   * show the held ones, so only a crash makes a difference.
   */
  flush(): Promise<void>;
}
