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
import type { Rights, Scopes } from "../access/decide.ts";
import type { Grant } from "../access/grant.ts";
import type { Secret } from "../secret.ts";
import type { AuditEntry, AuditHead, AuditRecord } from "./audit.ts";

export interface User {
  readonly accountId: string;
  readonly id: string;
  readonly name: string;
}

export interface NewUser {
  readonly accountId: string;
  readonly name: string;
  /** Absent: what every new user has. */
  readonly rules?: readonly Grant[];
  /** A user's id; absent: the control plane by itself. */
  readonly createdBy?: string;
  readonly now: number;
}

export interface UserRecord extends User {
  readonly createdAt: number;
  readonly rules: readonly RuleRecord[];
  /** How many are good. */
  readonly tokens: number;
}

export interface NewRule {
  readonly user: User;
  readonly grant: Grant;
  readonly name?: string;
  /** A user's id; absent: openbox itself. */
  readonly createdBy?: string;
  readonly now: number;
}

export interface RuleRecord {
  readonly id: string;
  readonly userId: string;
  readonly name: string;
  /** As it is kept, which another version may have written. */
  readonly grant: string;
  readonly createdAt: number;
}

/** A user as one of his tokens proves him, with what he may do by it. */
export interface TokenUser extends User, Rights {
  readonly tokenId: string;
  readonly tokenExpiresAt: number;
  /** As the database knows it, at most some seconds late; undefined before the first use. */
  readonly tokenLastUsedAt: number | undefined;
}

export interface NewUserToken {
  readonly token: Secret;
  /** For people: where it came from. */
  readonly name: string;
  readonly scopes: Scopes;
  /** The token that makes it; absent: openbox itself. */
  readonly madeWith?: string;
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface TokenRecord {
  readonly id: string;
  readonly userId: string;
  readonly userName: string;
  readonly name: string;
  /** As they are kept; undefined: all that the user may. */
  readonly scopes: readonly string[] | undefined;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly lastUsedAt: number | undefined;
  readonly madeWith: string | undefined;
}

export interface NewEnrollToken {
  readonly accountId: string;
  readonly createdBy: string;
  /** The token that makes it. */
  readonly madeWith?: string;
  readonly name?: string;
  readonly secret: Secret;
  readonly tags: readonly string[];
  /** How many nodes it makes. */
  readonly uses: number;
  /** Its nodes are removed when nothing was heard of them for so long. */
  readonly ephemeralMs?: number;
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface EnrollTokenRecord {
  readonly id: string;
  readonly name: string | undefined;
  readonly tags: readonly string[];
  /** A user's id. */
  readonly createdBy: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly uses: number;
  readonly usesLeft: number;
  readonly ephemeralMs: number | undefined;
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
  /** The list that it said last it holds. */
  readonly revocations: HeldList | undefined;
  /** It is removed when nothing was heard of it for so long. */
  readonly ephemeralMs?: number;
  /** When a copy of it was heard last. */
  readonly clonedAt?: number;
}

/** Which of the lists of its account a node holds, and when that was signed. */
export interface HeldList {
  readonly version: number;
  readonly signedAt: number;
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
  /** Which start of its agent was heard last, and which one before that. */
  readonly bootId: string | undefined;
  readonly bootBefore: string | undefined;
  /** When the newest was heard first. */
  readonly bootAt: number;
  /** A start that is taken for one on another machine, and when it was last heard. */
  readonly bootRefused: string | undefined;
  readonly clonedAt: number | undefined;
  readonly hostCert: HostCertRecord | undefined;
  /** Of its account's list, now. */
  readonly revocationsVersion: number;
  /** As written; a beat may have said more since. */
  readonly heldRevocations: HeldList | undefined;
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
  readonly revocations?: HeldList;
  readonly now: number;
}

/**
 * What is not to be believed any more: what a token asked for, what a user was certified before a time,
 * one certificate by its serial, one key of a user by its fingerprint, all that an account was certified
 * before a time.
 */
export interface RevocationEntry {
  readonly kind: "token" | "user" | "cert" | "key" | "account";
  readonly id: string;
  /** Of users and accounts: a certificate that was issued later is good. */
  readonly issuedBefore: number | undefined;
}

export interface Revocation extends RevocationEntry {
  /** Of the list in which it appeared. */
  readonly version: number;
  readonly revokedAt: number;
  readonly by: string;
  readonly reason: string;
  /** False: in the list of nodes an entry for the whole account stands for it. */
  readonly listed: boolean;
}

export interface RevocationRequest {
  readonly accountId: string;
  readonly kind: Exclude<RevocationEntry["kind"], "account"> | "node";
  /** A user's may be his name. */
  readonly id: string;
  readonly by: string;
  readonly reason: string;
  readonly now: number;
}

export interface Revoked {
  /** Of the list that says so; no list names a node, which is told itself. */
  readonly version: number;
  readonly id: string;
}

/** A list that nodes hold. */
export interface HeldRevocations {
  readonly version: number;
  readonly entries: readonly RevocationEntry[];
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

/** What becomes of the tokens, and the enrollment tokens, that were made with one that is revoked. */
export interface RevokeOptions {
  readonly now: number;
  /** They stay, as if the token before had made them; else they go, and what was made with them. */
  readonly keepMade: boolean;
}

export interface Change {
  readonly now: number;
  /** Even where nobody is left who may do everything. */
  readonly force: boolean;
}

export interface Store extends AsyncDisposable {
  /** Resolves when the database answered. */
  ping(): Promise<void>;

  /** Makes an account with its first user, who may do everything. */
  createAccount(userName: string, now: number, audit: AuditEntry): Promise<User>;
  /** The account that also answers for the installation, the oldest; undefined before the first start was through. */
  firstAccount(): Promise<string | undefined>;
  /** Its first user who is there. */
  firstUser(): Promise<User | undefined>;
  /**
   * That user; where there is none, made, with the account where that is missing too: of several control
   * planes that start at once one makes it.
   */
  ensureFirstUser(userName: string, now: number, audit: AuditEntry): Promise<User>;
  /** The users of this name, of every account. For the person at the machine, never for a caller. */
  usersNamed(name: string): Promise<readonly User[]>;
  hasUserToken(user: User): Promise<boolean>;
  /**
   * Returns the token's id. Rejects with `conflict` for a token that is known already, `quota` where the
   * user has too many, `unauthorized` where the one that it is made with is revoked.
   */
  addUserToken(user: User, token: NewUserToken, audit: AuditEntry): Promise<string>;
  /** Undefined for a token that is unknown or over; else it counts as used. */
  userByToken(token: Secret, now: number): Promise<TokenUser | undefined>;

  /** By name. */
  users(accountId: string, now: number): Promise<readonly UserRecord[]>;
  /** By id, else by name. */
  user(accountId: string, idOrName: string): Promise<User | undefined>;
  /** Rejects with `conflict` for a name that is taken. */
  addUser(user: NewUser, audit: AuditEntry): Promise<User>;
  /**
   * With his rules and his tokens; his sessions are ended. False where there is no such user. Rejects with
   * `conflict` where nobody would be left who may do everything. Done also where the audit takes no record.
   */
  removeUser(
    accountId: string,
    userId: string,
    change: Change & RevokeOptions,
    audit: AuditEntry,
  ): Promise<boolean>;
  /** The rights of a user without regard to a token. */
  rights(user: User): Promise<Rights>;
  rules(accountId: string, userId: string | undefined): Promise<readonly RuleRecord[]>;
  /** Rejects with `conflict` for a name that the user's rules have already. */
  addRule(rule: NewRule, audit: AuditEntry): Promise<RuleRecord>;
  /** As `removeUser`. */
  removeRule(
    accountId: string,
    ruleId: string,
    change: Change,
    audit: AuditEntry,
  ): Promise<boolean>;
  /** Makes the user one who may do everything, where nobody is. True where that was needed. */
  ensureAdmin(user: User, now: number, audit: AuditEntry): Promise<boolean>;
  /** The good ones, of one user or of all. */
  userTokens(
    accountId: string,
    userId: string | undefined,
    now: number,
  ): Promise<readonly TokenRecord[]>;
  userToken(accountId: string, tokenId: string, now: number): Promise<TokenRecord | undefined>;
  /** As `removeUser`. */
  revokeUserToken(
    accountId: string,
    tokenId: string,
    change: Change & RevokeOptions,
    audit: AuditEntry,
  ): Promise<boolean>;

  /** Its id. */
  addEnrollToken(token: NewEnrollToken, audit: AuditEntry): Promise<string>;
  /** Those that can still make a node. */
  enrollTokens(accountId: string, now: number): Promise<readonly EnrollTokenRecord[]>;
  /** False where there is none that could. Done also where the audit takes no record. */
  revokeEnrollToken(
    accountId: string,
    tokenId: string,
    now: number,
    audit: AuditEntry,
  ): Promise<boolean>;
  /**
   * Spends a use of the token and makes the node with the tags that the token grants. Of two callers with
   * its last use one wins. Rejects with `enroll_token_invalid`, `enroll_token_used`, or `conflict` where the
   * host key is a living node's; nothing is spent then.
   */
  registerNode(registration: Registration, audit: AuditEntry): Promise<Node>;

  /** Also of a deleted node. */
  nodeByToken(token: Secret): Promise<EnrolledNode | undefined>;
  /**
   * The node is seen now; what changed is written at once. Where a start of its agent comes back after a
   * later one, that later one runs beside it, on another machine: it is refused from then on.
   */
  recordBeat(node: EnrolledNode, beat: Beat): Promise<void>;
  /** A beat of the start that is refused came. */
  recordClone(node: EnrolledNode, now: number): Promise<void>;
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
  /**
   * Its sessions are bound no more. False where there is no such node. Done also where the audit takes no
   * record.
   */
  deleteNode(
    accountId: string,
    nodeId: string,
    now: number,
    audit: AuditEntry,
  ): Promise<boolean>;
  /**
   * Removes the ephemeral nodes of all accounts that are silent for too long; of two callers one removes a
   * node, and tells of it. `listeningSince`: what was before could not be heard.
   */
  expireNodes(
    times: { readonly now: number; readonly listeningSince: number },
    audit: AuditEntry,
  ): Promise<readonly string[]>;
  /** Of all accounts together, and how many of them were heard since then; late by what is only held. */
  countNodes(since: number): Promise<{ readonly total: number; readonly heard: number }>;
  candidates(accountId: string, target: Target): Promise<readonly Candidate[]>;
  /** Which nodes have which of these tags. */
  tagged(
    accountId: string,
    tags: readonly string[],
  ): Promise<ReadonlyMap<string, readonly string[]>>;
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
  /**
   * Revokes: at once for the control plane, and in the next list of the account, whose version rises with
   * every call, one winner each. A token is over for ever, and so are all of a user; a node is removed.
   * Undefined where the account has no such token, user or node. Done also where the audit takes no record.
   */
  revoke(request: RevocationRequest, audit: AuditEntry): Promise<Revoked | undefined>;
  /** The newest first; the version is 0 where nothing was ever revoked. */
  revocations(
    accountId: string,
  ): Promise<{ readonly version: number; readonly revocations: readonly Revocation[] }>;
  /** Whether the account's list had this version, as far as is remembered. */
  knowsRevocationVersion(accountId: string, version: number): Promise<boolean>;
  /** A user's key may not be certified. */
  isKeyRevoked(accountId: string, fingerprint: string): Promise<boolean>;
  /** What belongs to the installation: whether any account revoked the certificate or its key. */
  isSignerRevoked(serial: bigint, fingerprint: string): Promise<boolean>;
  /** Takes over the entries that are not known, and lifts the version above the list's. Returns them. */
  adoptRevocations(
    accountId: string,
    held: HeldRevocations,
    now: number,
    audit: AuditEntry,
  ): Promise<readonly RevocationEntry[]>;

  /** The newest certificate of the operations key, in authorized_keys form. */
  operationsCert(publicKey: string): Promise<string | undefined>;
  recordOperationsCert(
    publicKey: string,
    certificate: string,
    now: number,
    audit: AuditEntry,
  ): Promise<void>;

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
  /** The head, or an earlier end, as it is in the chain; undefined where there is no such record. */
  auditHeadAt(seq: number): Promise<AuditHead | undefined>;
  /**
   * Hands the records of all accounts that `sink` has not had to `deliver`, at most `limit`; they count as
   * sent when that resolves. One process at a time sends to a sink. True where there may be more.
   */
  exportAudit(
    sink: string,
    how: { readonly holder: string; readonly limit: number; readonly now: number },
    deliver: (records: readonly AuditRecord[]) => Promise<void>,
  ): Promise<boolean>;
  /**
   * Recomputes the whole chain, of all accounts; `kept` are heads that were written down elsewhere, which
   * must be part of it. Rejects with the signal's reason when that aborts.
   */
  verifyAudit(
    options: AbortOptions & { readonly kept?: readonly AuditHead[] },
  ): Promise<AuditCheck>;
  /**
   * The whole database as it is now, in lines (store/backup.ts), while others go on to write. Rejects with
   * what `write` rejects with.
   */
  backup(
    head: { readonly createdAt: number; readonly extra: Readonly<Record<string, string>> },
    write: (lines: string) => Promise<void>,
  ): Promise<void>;
  /** Of users and nodes of the account, removed ones too; an unknown id has none. */
  namesOf(accountId: string, ids: readonly string[]): Promise<ReadonlyMap<string, string>>;

  /**
   * Writes the times that were only held: when nodes were heard, and tokens and sessions used. Reads
   * show the held ones, so only a crash makes a difference.
   */
  flush(): Promise<void>;
}
