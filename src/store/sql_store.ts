/**
 * The store over kysely. The look-ups that every request makes are compiled once and only bound later;
 * the rest is built as it is needed.
 */
import { type CompiledQuery, type Kysely, sql, type Transaction } from "kysely";
import { equalBytes } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { newAccountId, newProcessId, newTokenId, newUserId } from "../ids.ts";
import { appendAudit, type AuditEntry, auditRecord, type AuditWriter, readHead } from "./audit.ts";
import {
  changedMeanwhile,
  insertCaSteps,
  readCaNodes,
  readCaSteps,
  readCaText,
  readCaVersion,
  writeCaText,
} from "./ca_rows.ts";
import { gatherAudit } from "./gather_audit.ts";
import { type Held, HeldTimes } from "./held_times.ts";
import { isPostgres, lock } from "./lock.ts";
import { enrolledNode, insertTags, readNodes, removeTags } from "./node_rows.ts";
import { registerNode } from "./register_node.ts";
import {
  insertBinding,
  readBinding,
  readSessions,
  recordReports,
  removeBinding,
  removeBindingsOf,
  sessionRefId,
} from "./session_rows.ts";
import type { Candidate, Store, Target, User } from "./store.ts";
import type { Tables } from "./tables.ts";
import { tokenHash } from "./token_hash.ts";
import { verifyAudit } from "./verify_audit.ts";
import { type HeldKind, writeHeld } from "./write_held.ts";

/** Of one transaction of `flush`: 10,000 nodes must not hold up the calls in between. */
const FLUSH_BATCH = 500;

/** A node that was not heard for so long comes online: its time is written at once. */
const NEWS_MS = 60_000;

export interface SqlStoreOptions {
  /** Runs the work of one call, within its time, and again where the database undid it. */
  attempt<T>(work: () => Promise<T>): Promise<T>;
}

/** The store owns `db` and closes it. Its schema must be there (`migrate`). */
export function createSqlStore(
  db: Kysely<Tables>,
  { attempt }: SqlStoreOptions = { attempt: (work) => work() },
): Store {
  const seen = new HeldTimes(), used = new HeldTimes(), sessionsUsed = new HeldTimes();
  const hot = compileHotQueries(db);
  const writer: AuditWriter = { process: newProcessId(), uptimeMs: () => performance.now() };
  const append = (tx: Transaction<Tables>, entry: AuditEntry) => appendAudit(tx, writer, [entry]);

  const single = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await attempt(work);
    } catch (error) {
      throw asStoreError(error);
    }
  };
  // whatever changes something is one, also a single statement: its server may go on with that when the
  // connection is gone, but only we commit
  const transaction = <T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<T> =>
    single(() => db.transaction().execute(work));

  async function flush(): Promise<void> {
    const write = (kind: HeldKind) => (times: readonly Held[]) =>
      transaction((tx) => writeHeld(tx, kind, times)).then(nextTurn);
    await seen.flush(write("nodeSeen"), FLUSH_BATCH);
    await used.flush(write("tokenUsed"), FLUSH_BATCH);
    await sessionsUsed.flush(write("sessionUsed"), FLUSH_BATCH);
  }

  async function createAccount(
    tx: Transaction<Tables>,
    name: string,
    now: number,
    audit: AuditEntry,
  ): Promise<User> {
    const user: User = { accountId: newAccountId(), id: newUserId(), name };
    await tx.insertInto("accounts").values({ account_id: user.accountId, created_at: now })
      .execute();
    await tx.insertInto("users").values({
      id: user.id,
      account_id: user.accountId,
      name,
      created_at: now,
    }).execute();
    await append(tx, { ...audit, accountId: user.accountId, subject: user.id });
    return user;
  }

  return {
    async ping() {
      const { rows } = await single(() => db.executeQuery(bind(hot.ping)));
      if (rows.length === 0) throw asStoreError(new Error("The database takes no writes"));
    },

    createAccount: (userName, now, audit) =>
      transaction((tx) => createAccount(tx, userName, now, audit)),

    firstUser: () => single(() => readFirstUser(db)),

    ensureFirstUser: (userName, now, audit) =>
      transaction(async (tx) => {
        await lock(tx, "first user");
        return await readFirstUser(tx) ?? await createAccount(tx, userName, now, audit);
      }),

    usersNamed: (name) =>
      single(async () => {
        const rows = await db.selectFrom("users").selectAll().where("name", "=", name)
          .orderBy("id").execute();
        return rows.map(toUser);
      }),

    hasUserToken: (user) =>
      single(async () => {
        const token = await db.selectFrom("user_tokens").select("id")
          .where("account_id", "=", user.accountId).where("user_id", "=", user.id)
          .limit(1).executeTakeFirst();
        return token !== undefined;
      }),

    addUserToken: (user, token, audit) =>
      transaction(async (tx) => {
        const id = newTokenId(), hash = tokenHash(token.token);
        const known = await tx.selectFrom("user_tokens").select("id").where("hash", "=", hash)
          .executeTakeFirst();
        if (known) throw new OpenboxError("conflict", "This token is known already");
        await tx.insertInto("user_tokens").values({
          id,
          account_id: user.accountId,
          user_id: user.id,
          name: token.name,
          hash,
          created_at: token.createdAt,
          expires_at: token.expiresAt,
          last_used_at: null,
        }).execute();
        await append(tx, { ...audit, accountId: user.accountId, subject: id });
        return id;
      }),

    userByToken: (token, now) =>
      single(async () => {
        const hash = tokenHash(token);
        const [row] = (await db.executeQuery(bind(hot.userByToken, hash))).rows;
        // the index compared the hash as it likes; this does not tell how much of it fitted
        if (!row || !equalBytes(row.hash, hash) || row.expiresAt <= now) return undefined;
        const lastUsedAt = used.latest(row.tokenId, row.lastUsedAt ?? 0);
        used.mark(row.tokenId, now);
        return {
          accountId: row.accountId,
          id: row.id,
          name: row.name,
          tokenId: row.tokenId,
          tokenExpiresAt: row.expiresAt,
          tokenLastUsedAt: lastUsedAt || undefined,
        };
      }),

    addEnrollToken: (token, audit) =>
      transaction(async (tx) => {
        const id = newTokenId();
        await tx.insertInto("enroll_tokens").values({
          id,
          account_id: token.accountId,
          hash: tokenHash(token.secret),
          tags: JSON.stringify(token.tags),
          created_by: token.createdBy,
          created_at: token.createdAt,
          expires_at: token.expiresAt,
          used_at: null,
          used_by: null,
        }).execute();
        await append(tx, { ...audit, accountId: token.accountId, subject: id });
      }),

    registerNode: (registration, audit) =>
      transaction(async (tx) => {
        const node = await registerNode(tx, registration);
        await append(tx, { ...audit, accountId: node.accountId, subject: node.id });
        return node;
      }),

    nodeByToken: (token) =>
      single(async () => {
        const hash = tokenHash(token);
        const [row] = (await db.executeQuery(bind(hot.nodeByToken, hash))).rows;
        if (!row || !equalBytes(row.token_hash, hash)) return undefined;
        return enrolledNode(row);
      }),

    async recordBeat(node, { addr, version, bootId, caAcknowledged, certHeld, now }) {
      const changed = {
        ...(addr !== undefined && addr !== node.addr && { addr }),
        ...(version !== undefined && version !== node.version && { version }),
        ...(bootId !== undefined && bootId !== node.bootId && { boot_id: bootId }),
        ...(caAcknowledged !== undefined && caAcknowledged !== node.caAcknowledged &&
          { ca_acknowledged: caAcknowledged }),
        ...(certHeld !== undefined && certHeld !== node.certHeld && { cert_held: certHeld }),
        // one that comes online is so also after a crash: what is held is not yet written then
        ...(seen.latest(node.id, node.storedSeenAt) < now - NEWS_MS && {
          // another control plane may have heard it later
          last_seen_at: sql<
            number
          >`case when last_seen_at < ${now} then ${now} else last_seen_at end`,
        }),
      };
      if (Object.keys(changed).length > 0) {
        await transaction((tx) =>
          tx.updateTable("nodes").set(changed)
            .where("account_id", "=", node.accountId).where("id", "=", node.id)
            .where("deleted_at", "is", null).execute()
        );
      }
      seen.mark(node.id, now);
    },

    recordHostCert: (accountId, nodeId, cert, audit) =>
      transaction(async (tx) => {
        await tx.updateTable("nodes").set({
          cert_serial: Number(cert.serial),
          cert_valid_after: cert.validAfter,
          cert_valid_before: cert.validBefore,
          cert_authority: cert.authority ?? null,
        }).where("account_id", "=", accountId).where("id", "=", nodeId).execute();
        await append(tx, { ...audit, accountId });
      }),

    nodes: (accountId, { tag }) => transaction((tx) => readNodes(tx, accountId, { tag }, seen)),

    node: (accountId, id) =>
      transaction(async (tx) => (await readNodes(tx, accountId, { id }, seen))[0]),

    updateNode: (accountId, id, { name, tags }, audit) =>
      transaction(async (tx) => {
        const updated = await tx.updateTable("nodes").set({ name })
          .where("account_id", "=", accountId).where("id", "=", id)
          .where("deleted_at", "is", null).executeTakeFirst();
        if (updated.numUpdatedRows === 0n) return undefined;
        await removeTags(tx, accountId, id);
        await insertTags(tx, accountId, id, tags);
        await append(tx, { ...audit, accountId });
        return (await readNodes(tx, accountId, { id }, seen))[0];
      }),

    deleteNode: (accountId, id, now, audit) =>
      transaction(async (tx) => {
        await lock(tx, id);
        const deleted = await tx.updateTable("nodes").set({ deleted_at: now })
          .where("account_id", "=", accountId).where("id", "=", id)
          .where("deleted_at", "is", null).executeTakeFirst();
        if (deleted.numUpdatedRows === 0n) return false;
        await removeTags(tx, accountId, id);
        await removeBindingsOf(tx, accountId, id);
        await append(tx, { ...audit, accountId });
        return true;
      }),

    candidates: (accountId, target) =>
      single(async () => {
        const { rows } = await db.executeQuery(candidatesQuery(hot, accountId, target));
        return rows.map((row): Candidate => ({
          ...row,
          lastSeenAt: seen.latest(row.id, row.lastSeenAt),
          caAcknowledged: row.caAcknowledged ?? undefined,
          certHeld: row.certHeld ?? undefined,
        }));
      }),

    tags: (accountId) =>
      single(async () => {
        const rows = await db.selectFrom("node_tags").select("tag").distinct()
          .where("account_id", "=", accountId).orderBy("tag").execute();
        return rows.map(({ tag }) => tag);
      }),

    binding: (user, name, now) =>
      transaction(async (tx) => {
        const binding = await readBinding(tx, user, name, seen);
        if (binding) sessionsUsed.mark(sessionRefId({ userId: user.id, name }), now);
        return binding;
      }),

    bindSession: (user, name, wanted, now, audit) =>
      transaction(async (tx) => {
        // no node is deleted while a session is being bound to it
        await lock(tx, wanted.nodeId);
        const created = await insertBinding(tx, user, name, wanted, now);
        if (created) await append(tx, { ...audit, accountId: user.accountId });
        const binding = await readBinding(tx, user, name, seen);
        if (binding) return { ...binding, created };
        throw new OpenboxError("conflict", `The session ${name} was ended just now`, {
          hint: "try again",
        });
      }),

    sessions: (user) => transaction((tx) => readSessions(tx, user, { seen, used: sessionsUsed })),

    unbindSession: (user, name, options, audit) =>
      transaction(async (tx) => {
        const removed = await removeBinding(tx, user, name, options);
        if (removed) await append(tx, { ...audit, accountId: user.accountId });
        return removed;
      }),

    recordSessions: (node, reports, now, audit) =>
      transaction(async (tx) => {
        const { orphans, gone } = await recordReports(tx, node, reports, now);
        const entries = gone.map(({ userId, name, state }): AuditEntry => ({
          ...audit,
          accountId: node.accountId,
          action: state === "lost" ? "session.lost" : "session.end",
          subject: name,
          detail: { user: userId },
        }));
        if (entries.length > 0) await appendAudit(tx, writer, entries);
        return orphans;
      }),

    caVersion: () => single(() => readCaVersion(db)),
    caSteps: () => single(() => readCaSteps(db)),
    caText: () => single(() => readCaText(db)),

    putCaText: (text, audit) =>
      transaction(async (tx) => {
        const written = await writeCaText(tx, text);
        if (written) await append(tx, audit);
        return written;
      }),

    addCaSteps: (steps, text, audit) =>
      transaction(async (tx) => {
        await insertCaSteps(tx, steps);
        if (text && !await writeCaText(tx, text)) throw changedMeanwhile();
        await append(tx, audit);
      }),

    caNodes: () => single(() => readCaNodes(db, seen)),

    reserveSerials: (count, now) =>
      transaction(async (tx) => {
        await lock(tx, "serials");
        const { rows } = await sql<{ first: number }>`
          insert into serial_blocks (first, account_id, size, reserved_at)
          select coalesce((select first + size from serial_blocks order by first desc limit 1), 1),
            null, ${count}, ${now}
          returning first`.execute(tx);
        return BigInt(rows[0]!.first);
      }),

    recordRunEvents: ({ accountId, id }, spool, events) =>
      transaction(async (tx) => {
        const row = await tx.selectFrom("nodes").select(["run_spool", "run_event"])
          .where("account_id", "=", accountId).where("id", "=", id).executeTakeFirst();
        const known = row?.run_spool === spool ? row.run_event ?? 0 : 0;
        const fresh = events.filter(({ n }) => n > known).sort((a, b) => a.n - b.n);
        if (fresh.length === 0) return;
        await appendAudit(tx, writer, fresh.map(({ entry }) => ({ ...entry, accountId })));
        await tx.updateTable("nodes").set({ run_spool: spool, run_event: fresh.at(-1)!.n })
          .where("account_id", "=", accountId).where("id", "=", id).execute();
      }),

    recordAudit: gatherAudit((entries) => transaction((tx) => appendAudit(tx, writer, entries))),

    auditRecords: (accountId, query) =>
      single(async () => {
        const { after, limit, since, newest = false, installation = false } = query;
        let wanted = db.selectFrom("audit").selectAll().where("seq", ">", after)
          .where(({ eb }) =>
            installation
              ? eb("account_id", "=", accountId).or("account_id", "is", null)
              : eb("account_id", "=", accountId)
          );
        if (since !== undefined) wanted = wanted.where("at", ">=", since);
        const rows = await wanted.orderBy("seq", newest ? "desc" : "asc").limit(limit).execute();
        return (newest ? rows.reverse() : rows).map(auditRecord);
      }),

    auditHead: () => transaction(readHead),

    verifyAudit: (options) =>
      verifyAudit(
        (after, limit) =>
          single(() =>
            db.selectFrom("audit").selectAll().where("seq", ">", after).orderBy("seq").limit(limit)
              .execute()
          ),
        options,
      ),

    namesOf: (accountId, ids) =>
      single(async () => {
        if (ids.length === 0) return new Map();
        const users = db.selectFrom("users").select(["id", "name"])
          .where("account_id", "=", accountId).where("id", "in", ids);
        const nodes = db.selectFrom("nodes").select(["id", "name"])
          .where("account_id", "=", accountId).where("id", "in", ids);
        const rows = await users.unionAll(nodes).execute();
        return new Map(rows.map(({ id, name }) => [id, name]));
      }),

    isFirstAccount: (accountId) =>
      single(async () => {
        const first = await db.selectFrom("accounts").select("account_id")
          .orderBy("created_at").orderBy("account_id").limit(1).executeTakeFirst();
        return first?.account_id === accountId;
      }),

    flush,

    async [Symbol.asyncDispose]() {
      try {
        await flush();
      } finally {
        await db.destroy();
      }
    },
  };
}

async function readFirstUser(db: Kysely<Tables>): Promise<User | undefined> {
  const row = await db.selectFrom("users").selectAll()
    .orderBy("created_at").orderBy("id").limit(1).executeTakeFirst();
  return row && toUser(row);
}

const toUser = (row: Tables["users"]): User => ({
  accountId: row.account_id,
  id: row.id,
  name: row.name,
});

/** What is not ours to explain is the database's failure; its words stay in `cause`, for the log. */
function asStoreError(error: unknown): OpenboxError {
  if (error instanceof OpenboxError) return error;
  return new OpenboxError("database_unavailable", "The control plane's database does not answer", {
    hint: "try again; the control plane's log says why",
    cause: error,
  });
}

/** kysely's promises settle without letting anybody else in; a timer does. */
const nextTurn = () => new Promise<void>((resolve) => setTimeout(resolve));

/** With the values of this call, in the order in which the query was built. */
const bind = <Row>(query: CompiledQuery<Row>, ...parameters: unknown[]): CompiledQuery<Row> => ({
  ...query,
  parameters,
});

function compileHotQueries(db: Kysely<Tables>) {
  const none = new Uint8Array();
  const candidates = db.selectFrom("nodes")
    .select([
      "nodes.id",
      "name",
      "addr",
      "host_key as hostKey",
      "last_seen_at as lastSeenAt",
      "ca_acknowledged as caAcknowledged",
      "cert_held as certHeld",
    ])
    .where("nodes.account_id", "=", "").where("deleted_at", "is", null);
  return {
    ping: isPostgres(db)
      // it may have become a standby since we connected
      ? db.selectFrom("schema_migrations").select("name")
        .where(sql`current_setting('transaction_read_only')`, "=", sql.lit("off")).compile()
      : db.selectFrom("schema_migrations").select("name").compile(),
    userByToken: db.selectFrom("user_tokens").innerJoin("users", "users.id", "user_tokens.user_id")
      .select([
        "user_tokens.account_id as accountId",
        "users.id",
        "users.name",
        "user_tokens.id as tokenId",
        "hash",
        "expires_at as expiresAt",
        "last_used_at as lastUsedAt",
      ])
      .where("hash", "=", none).compile(),
    nodeByToken: db.selectFrom("nodes").selectAll().where("token_hash", "=", none).compile(),
    candidates: candidates.compile(),
    candidatesByTag: candidates.innerJoin("node_tags", "node_id", "nodes.id")
      .where("node_tags.account_id", "=", "").where("tag", "=", "").compile(),
    candidatesByNode: candidates
      .where(({ eb }) => eb("nodes.id", "=", "").or("name", "=", "")).compile(),
  };
}
type HotQueries = ReturnType<typeof compileHotQueries>;

function candidatesQuery(hot: HotQueries, accountId: string, target: Target) {
  switch (target.kind) {
    case "any":
      return bind(hot.candidates, accountId);
    case "tag":
      return bind(hot.candidatesByTag, accountId, accountId, target.tag);
    case "node":
      return bind(hot.candidatesByNode, accountId, target.node, target.node);
  }
}
