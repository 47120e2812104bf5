/**
 * The record of who did what. Each record's hash covers its own fields and the hash before, so that
 * whoever changes, drops or moves one has to change every later one too, and the heads that were
 * signed and sent elsewhere tell. A record is written in the transaction of the change that it tells of.
 */
import { createHash } from "node:crypto";
import { type Kysely, sql, type Transaction } from "kysely";
import { OpenboxError } from "../errors.ts";
import { forRows } from "./for_rows.ts";
import { lock } from "./lock.ts";
import { isOfTransaction } from "./postgres_errors.ts";
import type { Tables } from "./tables.ts";

/** Every act that is recorded. The list is fixed: `openbox audit` and the readers of exports rely on it. */
export const AUDIT_ACTIONS = [
  "control.start",
  "login",
  "request",
  "user.add",
  "user.remove",
  "token.create",
  "token.revoke",
  "token.break_glass",
  "rule.add",
  "rule.remove",
  "revoke",
  "revocations.adopt",
  "enroll_token.create",
  "enroll_token.revoke",
  "node.enroll",
  "node.update",
  "node.remove",
  "node.expire",
  "cert.host",
  "dispatch",
  "run.start",
  "run.end",
  "run.gap",
  "session.bind",
  "session.unbind",
  "session.lost",
  "session.end",
  "ca.create",
  "ca.rotate",
  "ca.seal",
  "ca.unseal",
  "backup",
  "restore",
] as const;
export type AuditAction = typeof AUDIT_ACTIONS[number];

export type AuditDetail = Readonly<Record<string, string | number | boolean | null>>;

export interface AuditEntry {
  /** Epoch milliseconds. */
  readonly at: number;
  /** Undefined: the installation; or the account that the method itself learns or makes. */
  readonly accountId: string | undefined;
  readonly action: AuditAction;
  readonly outcome: "allowed" | "denied";
  /** A user's or a node's id, `system`, or `anonymous`. */
  readonly actor: string;
  readonly tokenId?: string;
  /** The address that the request came from. */
  readonly source?: string;
  readonly requestId?: string;
  /** The id of what it was done to. */
  readonly subject?: string;
  /** Never a secret. */
  readonly detail?: AuditDetail;
}

/** An entry as it stands in the chain. */
export interface AuditRecord extends AuditEntry {
  readonly seq: number;
  /** Of the process that wrote it, by a clock that is never set back. */
  readonly uptimeMs: number;
  /** Which process that was. */
  readonly process: string;
  /** Hexadecimal. */
  readonly hash: string;
}

/** Where the chain ends; before the first record `seq` is 0. */
export interface AuditHead {
  readonly seq: number;
  /** Hexadecimal. */
  readonly hash: string;
}

export const EMPTY_CHAIN: AuditHead = { seq: 0, hash: "0".repeat(64) };

export type AuditRow = Tables["audit"];

/**
 * The hash that a row must have behind `before`: SHA-256 of that one's hexadecimal digits and the row's
 * fields as a JSON list, so that no two rows read alike. All of it is text, since that costs a third.
 */
export function auditHash(before: string, row: Omit<AuditRow, "hash">): string {
  const fields = [
    row.seq,
    row.account_id,
    row.at,
    row.uptime_ms,
    row.process,
    row.action,
    row.outcome,
    row.actor,
    row.token_id,
    row.source,
    row.request_id,
    row.subject,
    row.detail,
  ];
  return createHash("sha256").update(before + JSON.stringify(fields)).digest("hex");
}

/** The process that writes, for `uptimeMs` and `process`. */
export interface AuditWriter {
  readonly process: string;
  uptimeMs(): number;
}

/**
 * Writes them behind the head, in their order. One transaction appends at a time, over all control planes:
 * do it last in yours, since the others wait from here to its end, and a row that you lock behind it may be
 * held by one of them. Throws `audit_unavailable` where no record can be written, so that what was to be told
 * does not happen; and what undid the transaction as it came, to be tried again.
 */
export async function appendAudit(
  tx: Transaction<Tables>,
  writer: AuditWriter,
  entries: readonly AuditEntry[],
): Promise<void> {
  try {
    await append(tx, writer, entries);
  } catch (cause) {
    if (isOfTransaction(cause)) throw cause;
    throw new OpenboxError("audit_unavailable", "The audit takes no record, so nothing was done", {
      hint: "try again; the control plane's log says why",
      cause,
    });
  }
}

async function append(
  tx: Transaction<Tables>,
  writer: AuditWriter,
  entries: readonly AuditEntry[],
): Promise<void> {
  await lock(tx, "audit");
  let { seq, hash } = await readHead(tx);
  const rows = entries.map((entry): AuditRow => {
    const row = {
      seq: ++seq,
      account_id: entry.accountId ?? null,
      at: entry.at,
      uptime_ms: Math.floor(writer.uptimeMs()),
      process: writer.process,
      action: entry.action,
      outcome: entry.outcome,
      actor: entry.actor,
      token_id: entry.tokenId ?? null,
      source: entry.source ?? null,
      request_id: entry.requestId ?? null,
      subject: entry.subject ?? null,
      detail: JSON.stringify(entry.detail ?? {}),
    };
    hash = auditHash(hash, row);
    return { ...row, hash };
  });
  await forRows(
    tx,
    COLUMNS,
    rows,
    ({ value, rows }) =>
      sql`insert into audit (${sql.join(NAMES.map((name) => sql.ref(name)))})
        select ${sql.join(NAMES.map(value))} ${rows("from")}`,
  );
}

const COLUMNS = {
  seq: "bigint",
  account_id: "text",
  at: "bigint",
  uptime_ms: "bigint",
  process: "text",
  action: "text",
  outcome: "text",
  actor: "text",
  token_id: "text",
  source: "text",
  request_id: "text",
  subject: "text",
  detail: "text",
  hash: "text",
} as const satisfies Record<keyof AuditRow, "text" | "bigint">;
const NAMES = Object.keys(COLUMNS) as (keyof AuditRow)[];

export async function readHead(tx: Transaction<Tables>): Promise<AuditHead> {
  const last = await tx.selectFrom("audit").select(["seq", "hash"]).orderBy("seq", "desc").limit(1)
    .executeTakeFirst();
  return last ? { seq: last.seq, hash: last.hash } : EMPTY_CHAIN;
}

/** The records behind a number, in their order, of all accounts. */
export const auditPage = (
  db: Kysely<Tables>,
  after: number,
  limit: number,
): Promise<readonly AuditRow[]> =>
  db.selectFrom("audit").selectAll().where("seq", ">", after).orderBy("seq").limit(limit).execute();

export function auditRecord(row: AuditRow): AuditRecord {
  return {
    seq: row.seq,
    at: row.at,
    uptimeMs: row.uptime_ms,
    process: row.process,
    accountId: row.account_id ?? undefined,
    action: row.action as AuditAction,
    outcome: row.outcome as AuditEntry["outcome"],
    actor: row.actor,
    ...(row.token_id !== null && { tokenId: row.token_id }),
    ...(row.source !== null && { source: row.source }),
    ...(row.request_id !== null && { requestId: row.request_id }),
    ...(row.subject !== null && { subject: row.subject }),
    detail: JSON.parse(row.detail),
    hash: row.hash,
  };
}
