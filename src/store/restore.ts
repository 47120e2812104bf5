/**
 * A backup put in the place of a database. What must not come back with it is carried over from the
 * database that it replaces: revocations, removed users and nodes, spent enrollment tokens, and which
 * serials were given.
 */
import type { Kysely, Transaction } from "kysely";
import { OpenboxError } from "../errors.ts";
import { newProcessId } from "../ids.ts";
import { appendAudit, type AuditEntry, auditPage } from "./audit.ts";
import { type BackupHead, insertBackup, type WholeBackup } from "./backup.ts";
import { migrate, MIGRATIONS } from "./migrations.ts";
import type { Tables } from "./tables.ts";
import type { AuditCheck } from "./store.ts";
import { verifyAudit } from "./verify_audit.ts";

export interface RestoreOptions {
  readonly backup: WholeBackup;
  readonly audit: AuditEntry;
  /** What the database that is replaced still knew. */
  readonly carry: Carried | undefined;
  readonly now: number;
}

export interface Restored {
  readonly rows: number;
  /** Whether the chain of the backup is as it was written. */
  readonly check: AuditCheck;
  /** Revocations that were made after the backup and hold on. */
  readonly carried: number;
}

/** Serials that may have been given since the backup, where nobody knows how many. */
const SKIPPED_SERIALS = 2 ** 20;

/** Into a database without any tables. Throws `bad_file` for a backup that is not whole, or newer than this program. */
export async function restoreInto(db: Kysely<Tables>, options: RestoreOptions): Promise<Restored> {
  const { backup, carry, now } = options, { head } = backup;
  await migrate(db, now, schemaOf(head));
  if (await db.selectFrom("accounts").select("account_id").limit(1).executeTakeFirst()) {
    throw new OpenboxError("conflict", "The database is not empty", {
      hint: "make a new one, restore into it, and point OPENBOX_DB at it",
    });
  }
  await db.transaction().execute((tx) => insertBackup(tx, backup));
  await migrate(db, now);
  const check = await verifyAudit((after, limit) => auditPage(db, after, limit), {});
  const carried = await db.transaction().execute(async (tx) => {
    const kept = carry ? await carryOver(tx, carry) : 0;
    await skipSerials(tx, carry?.serialsEnd, now);
    const writer = { process: newProcessId(), uptimeMs: () => performance.now() };
    await appendAudit(tx, writer, [{
      ...options.audit,
      detail: { ...options.audit.detail, backup_at: new Date(head.createdAt).toISOString(), kept },
    }]);
    return kept;
  });
  return { rows: backup.rows, check, carried };
}

/** The migrations that the backup's database had. */
function schemaOf({ migrations }: BackupHead): typeof MIGRATIONS {
  const known = MIGRATIONS.slice(0, migrations.length);
  if (known.length === migrations.length && known.every(({ name }, i) => name === migrations[i])) {
    return known;
  }
  throw new OpenboxError("bad_file", "The backup was made by a newer or another openbox", {
    hint: "restore it with the version that made it",
  });
}

/** What a database knows that a backup of it may not. */
export interface Carried {
  readonly serialsEnd: number;
  readonly revocations: readonly Tables["revocations"][];
  readonly versions: readonly Tables["revocation_versions"][];
  readonly tokens: readonly { readonly id: string; readonly revoked_at: number | null }[];
  readonly users: readonly {
    readonly id: string;
    readonly removed_at: number | null;
    readonly name: string;
  }[];
  readonly nodes: readonly { readonly id: string; readonly deleted_at: number | null }[];
  readonly enrollTokens: readonly {
    readonly id: string;
    readonly uses_left: number;
    readonly revoked_at: number | null;
  }[];
}

/** Of a database with this version's schema. */
export async function readCarried(db: Kysely<Tables>): Promise<Carried> {
  const last = await db.selectFrom("serial_blocks").select(["first", "size"])
    .orderBy("first", "desc").limit(1).executeTakeFirst();
  return {
    serialsEnd: last ? last.first + last.size : 1,
    revocations: await db.selectFrom("revocations").selectAll().execute(),
    versions: await db.selectFrom("revocation_versions").selectAll().execute(),
    tokens: await db.selectFrom("user_tokens").select(["id", "revoked_at"])
      .where("revoked_at", "is not", null).execute(),
    users: await db.selectFrom("users").select(["id", "removed_at", "name"])
      .where("removed_at", "is not", null).execute(),
    nodes: await db.selectFrom("nodes").select(["id", "deleted_at"])
      .where("deleted_at", "is not", null).execute(),
    enrollTokens: await db.selectFrom("enroll_tokens").select(["id", "uses_left", "revoked_at"])
      .execute(),
  };
}

/** How many revocations the backup did not know. */
async function carryOver(tx: Transaction<Tables>, carry: Carried): Promise<number> {
  const accounts = new Set(
    (await tx.selectFrom("accounts").select("account_id").execute()).map((row) => row.account_id),
  );
  let kept = 0;
  for (const row of carry.revocations) {
    if (!accounts.has(row.account_id)) continue;
    const { account_id: _account, kind: _kind, id: _id, ...newer } = row;
    // said again since the backup, it holds for more, and its version is a newer one
    const { numInsertedOrUpdatedRows } = await tx.insertInto("revocations").values(row)
      .onConflict((conflict) =>
        conflict.columns(["account_id", "kind", "id"]).doUpdateSet(newer)
          .where("revocations.version", "<", row.version)
      ).executeTakeFirst();
    if (numInsertedOrUpdatedRows === 1n) kept++;
  }
  for (const row of carry.versions) {
    if (!accounts.has(row.account_id)) continue;
    await tx.deleteFrom("revocation_versions").where("account_id", "=", row.account_id)
      .where("version", "<", row.version).execute();
    await tx.insertInto("revocation_versions").values(row)
      .onConflict((conflict) => conflict.doNothing()).execute();
  }
  for (const { id, revoked_at } of carry.tokens) {
    await tx.updateTable("user_tokens").set({ revoked_at }).where("id", "=", id).execute();
  }
  for (const { id, removed_at, name } of carry.users) {
    await tx.updateTable("users").set({ removed_at, name }).where("id", "=", id).execute();
  }
  for (const { id, deleted_at } of carry.nodes) {
    await tx.updateTable("nodes").set({ deleted_at }).where("id", "=", id)
      .where("deleted_at", "is", null).execute();
    await tx.deleteFrom("node_tags").where("node_id", "=", id).execute();
    await tx.deleteFrom("sessions").where("node_id", "=", id).execute();
  }
  for (const { id, uses_left, revoked_at } of carry.enrollTokens) {
    await tx.updateTable("enroll_tokens").set({ uses_left, revoked_at }).where("id", "=", id)
      .where("uses_left", ">=", uses_left).execute();
  }
  return kept;
}

async function skipSerials(
  tx: Transaction<Tables>,
  known: number | undefined,
  now: number,
): Promise<void> {
  const last = await tx.selectFrom("serial_blocks").select(["first", "size"])
    .orderBy("first", "desc").limit(1).executeTakeFirst();
  const first = last ? last.first + last.size : 1;
  const size = known === undefined ? SKIPPED_SERIALS : known - first;
  if (size <= 0) return;
  await tx.insertInto("serial_blocks").values({ first, size, account_id: null, reserved_at: now })
    .execute();
}
