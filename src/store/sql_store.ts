/**
 * The store over kysely. The look-ups that every request makes are compiled once and only bound later;
 * the rest is built as it is needed.
 */
import { type CompiledQuery, type Kysely, sql, type Transaction } from "kysely";
import { abortable, deadline } from "../abort.ts";
import { equalBytes } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { newAccountId, newProcessId } from "../ids.ts";
import { accessMethods, type Append } from "./access_methods.ts";
import { advanceSink, holdSink } from "./audit_sinks.ts";
import {
  appendAudit,
  type AuditEntry,
  auditPage,
  auditRecord,
  type AuditWriter,
  readHead,
} from "./audit.ts";
import { writeBackup } from "./backup.ts";
import { outsideRequests, timed } from "./call_deadline.ts";
import {
  changedMeanwhile,
  insertCaSteps,
  readCaNodes,
  readCaSteps,
  readCaText,
  readCaVersion,
  writeCaText,
} from "./ca_rows.ts";
import { silentNodes } from "./ephemeral_nodes.ts";
import { gatherAudit } from "./gather_audit.ts";
import { log } from "../log.ts";
import { type Held, HeldTimes } from "./held_times.ts";
import { isPostgres, lock, locked } from "./lock.ts";
import {
  bootChange,
  enrolledNode,
  type HeldOfNodes,
  holdList,
  insertTags,
  readNodes,
  removeNode,
  removeTags,
} from "./node_rows.ts";
import { registerNode } from "./register_node.ts";
import {
  adoptRevocations,
  isSignerRevoked,
  knowsVersion,
  readRevocations,
  revoke,
} from "./revocation_rows.ts";
import {
  insertBinding,
  readBinding,
  readSessions,
  recordReports,
  removeBinding,
  sessionRefId,
} from "./session_rows.ts";
import type { Candidate, Store, Target, User } from "./store.ts";
import type { Tables } from "./tables.ts";
import { tokenHash } from "./token_hash.ts";
import { toRule, toScopes } from "./user_tokens.ts";
import { firstRules, insertUser } from "./users.ts";
import { verifyAudit } from "./verify_audit.ts";
import { type HeldKind, writeHeld } from "./write_held.ts";

/** Of one transaction of `flush`: 10,000 nodes must not hold up the calls in between. */
const FLUSH_BATCH = 500;

/** A node that was not heard for so long comes online: its time is written at once. */
const NEWS_MS = 60_000;

/** A copy that beats on is written down so often. */
const CLONE_NEWS_MS = 5 * 60_000;

export interface SqlStoreOptions {
  /** Runs the work of one call, within its time, and again where the database undid it. */
  attempt<T>(work: () => Promise<T>): Promise<T>;
  /** Gives a view that no write changes while it is read. */
  snapshot(work: (reader: Kysely<Tables>) => Promise<void>): Promise<void>;
}

/** The store owns `db` and closes it. Its schema must be there (`migrate`). */
export function createSqlStore(
  db: Kysely<Tables>,
  { attempt, snapshot }: SqlStoreOptions,
): Store {
  const seen = new HeldTimes(), used = new HeldTimes(), sessionsUsed = new HeldTimes();
  const lists = { versions: new HeldTimes(), signed: new HeldTimes() };
  const heldOfNodes: HeldOfNodes = { seen, lists };
  const hot = compileHotQueries(db);
  const writer: AuditWriter = { process: newProcessId(), uptimeMs: () => performance.now() };
  const append: Append = (tx, entry) => appendAudit(tx, writer, [entry]);

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

  /** What takes something away from somebody is done also where the audit takes no record. */
  async function evenUnrecorded<T>(
    work: (tx: Transaction<Tables>, append: Append) => Promise<T>,
  ): Promise<T> {
    try {
      return await transaction((tx) => work(tx, append));
    } catch (error) {
      if ((error as OpenboxError).code !== "audit_unavailable") throw error;
      let untold: AuditEntry | undefined;
      const done = await transaction((tx) => {
        untold = undefined;
        return work(tx, (_tx, entry) => Promise.resolve(void (untold = entry)));
      });
      if (untold) {
        const { action, actor, subject } = untold;
        log("store").error("done without a record in the audit", { action, actor, subject, error });
      }
      return done;
    }
  }

  const gathered = gatherAudit((entries) =>
    outsideRequests(() => transaction((tx) => appendAudit(tx, writer, entries)))
  );

  async function flush(): Promise<void> {
    const write = (kind: HeldKind) => (times: readonly Held[]) =>
      transaction((tx) => writeHeld(tx, kind, times)).then(nextTurn);
    await seen.flush(write("nodeSeen"), FLUSH_BATCH);
    await lists.versions.flush(write("listVersion"), FLUSH_BATCH);
    await lists.signed.flush(write("listSigned"), FLUSH_BATCH);
    await used.flush(write("tokenUsed"), FLUSH_BATCH);
    await sessionsUsed.flush(write("sessionUsed"), FLUSH_BATCH);
  }

  async function createAccount(
    tx: Transaction<Tables>,
    name: string,
    now: number,
    audit: AuditEntry,
  ): Promise<User> {
    const accountId = newAccountId();
    await tx.insertInto("accounts").values({ account_id: accountId, created_at: now }).execute();
    return await addAdmin(tx, accountId, name, now, audit);
  }

  async function addAdmin(
    tx: Transaction<Tables>,
    accountId: string,
    name: string,
    now: number,
    audit: AuditEntry,
  ): Promise<User> {
    const user = await insertUser(tx, { accountId, name, rules: firstRules, now });
    await append(tx, { ...audit, accountId, subject: user.id });
    return user;
  }

  return {
    ...accessMethods({ transaction, append, evenUnrecorded, used }),

    async ping() {
      const { rows } = await single(() => db.executeQuery(bind(hot.ping)));
      if (rows.length === 0) throw asStoreError(new Error("The database takes no writes"));
    },

    createAccount: (userName, now, audit) =>
      transaction((tx) => createAccount(tx, userName, now, audit)),

    firstAccount: () => single(() => readFirstAccount(db)),
    firstUser: () => single(() => readFirstUser(db)),

    ensureFirstUser: (userName, now, audit) =>
      transaction(async (tx) => {
        await lock(tx, "first user");
        const user = await readFirstUser(tx);
        if (user) return user;
        const accountId = await readFirstAccount(tx);
        return accountId === undefined
          ? await createAccount(tx, userName, now, audit)
          : await addAdmin(tx, accountId, userName, now, audit);
      }),

    usersNamed: (name) =>
      single(async () => {
        const rows = await db.selectFrom("users").selectAll().where("name", "=", name)
          .where("removed_at", "is", null)
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

    userByToken: (token, now) =>
      single(async () => {
        const hash = tokenHash(token);
        const { rows } = await db.executeQuery(bind(hot.userByToken, hash)), [row] = rows;
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
          rules: rows.map(({ ruleId, ruleName, grantText }) =>
            ruleId === null ? undefined : toRule(ruleId, ruleName!, grantText!)
          ).filter((rule) => rule !== undefined),
          scopes: toScopes(row.scopes),
        };
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

    async recordBeat(node, { addr, version, bootId, caAcknowledged, certHeld, revocations, now }) {
      const changed = {
        ...(addr !== undefined && addr !== node.addr && { addr }),
        ...(version !== undefined && version !== node.version && { version }),
        ...bootChange(node, bootId, now),
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
      if (revocations) holdList(lists, node, revocations);
    },

    async recordClone(node, now) {
      if (node.clonedAt !== undefined && now - node.clonedAt < CLONE_NEWS_MS) return;
      await transaction((tx) =>
        tx.updateTable("nodes").set({ cloned_at: now })
          .where("account_id", "=", node.accountId).where("id", "=", node.id).execute()
      );
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

    nodes: (accountId, { tag }) =>
      transaction((tx) => readNodes(tx, accountId, { tag }, heldOfNodes)),

    node: (accountId, id) =>
      transaction(async (tx) => (await readNodes(tx, accountId, { id }, heldOfNodes))[0]),

    updateNode: (accountId, id, { name, tags }, audit) =>
      transaction(async (tx) => {
        const updated = await tx.updateTable("nodes").set({ name })
          .where("account_id", "=", accountId).where("id", "=", id)
          .where("deleted_at", "is", null).executeTakeFirst();
        if (updated.numUpdatedRows === 0n) return undefined;
        await removeTags(tx, accountId, id);
        await insertTags(tx, accountId, id, tags);
        const [node] = await readNodes(tx, accountId, { id }, heldOfNodes);
        await append(tx, { ...audit, accountId });
        return node;
      }),

    deleteNode: (accountId, id, now, audit) =>
      evenUnrecorded(async (tx, append) => {
        const removed = await removeNode(tx, accountId, id, now);
        if (removed) await append(tx, { ...audit, accountId });
        return removed;
      }),

    async expireNodes(times, audit) {
      const expired: string[] = [];
      for (const node of await single(() => silentNodes(db, times, seen))) {
        const { accountId, id, name } = node;
        const removed = await transaction(async (tx) => {
          // not where somebody heard of it meanwhile
          const removed = await removeNode(tx, accountId, id, times.now, node);
          if (removed) await append(tx, { ...audit, accountId, subject: id, detail: { name } });
          return removed;
        });
        if (removed) expired.push(id);
      }
      return expired;
    },

    countNodes: (since) =>
      single(async () => {
        const row = await db.selectFrom("nodes").where("deleted_at", "is", null)
          .select(({ fn }) => [
            fn.countAll().as("total"),
            fn.countAll().filterWhere("last_seen_at", ">=", since).as("heard"),
          ]).executeTakeFirstOrThrow();
        return { total: Number(row.total), heard: Number(row.heard) };
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

    tagged: (accountId, tags) =>
      single(async () => {
        const rows = tags.length === 0 ? [] : await db.selectFrom("node_tags")
          .select(["node_id as nodeId", "tag"]).where("account_id", "=", accountId)
          .where("tag", "in", tags).execute();
        const of = new Map<string, string[]>();
        for (const { nodeId, tag } of rows) of.set(nodeId, [...of.get(nodeId) ?? [], tag]);
        return of;
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

    revoke: (request, audit) =>
      evenUnrecorded(async (tx, append) => {
        const revoked = await revoke(tx, request);
        if (revoked) await append(tx, { ...audit, accountId: request.accountId });
        return revoked;
      }),

    revocations: (accountId) => transaction((tx) => readRevocations(tx, accountId)),

    knowsRevocationVersion: (accountId, version) =>
      transaction((tx) => knowsVersion(tx, accountId, version)),

    isKeyRevoked: (accountId, fingerprint) =>
      single(async () => {
        const { rows } = await db.executeQuery(bind(hot.keyRevoked, accountId, "key", fingerprint));
        return rows.length > 0;
      }),

    isSignerRevoked: (serial, fingerprint) =>
      transaction((tx) => isSignerRevoked(tx, serial, fingerprint)),

    adoptRevocations: (accountId, held, now, audit) =>
      evenUnrecorded(async (tx, append) => {
        const adopted = await adoptRevocations(tx, accountId, held, audit.actor, now);
        await append(tx, { ...audit, accountId });
        return adopted;
      }),

    operationsCert: (publicKey) =>
      single(async () => {
        const row = await db.selectFrom("operations_certs").select("certificate")
          .where("public_key", "=", publicKey).executeTakeFirst();
        return row?.certificate;
      }),

    recordOperationsCert: (publicKey, certificate, now, audit) =>
      transaction(async (tx) => {
        const values = { certificate, issued_at: now };
        await tx.insertInto("operations_certs").values({
          public_key: publicKey,
          account_id: null,
          ...values,
        }).onConflict((conflict) => conflict.column("public_key").doUpdateSet(values)).execute();
        await append(tx, audit);
      }),

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
        // locked: of two that bring the same events, the other finds them taken
        const query = tx.selectFrom("nodes").select(["run_spool", "run_event"])
          .where("account_id", "=", accountId).where("id", "=", id);
        const row = await locked(tx, query).executeTakeFirst();
        const known = row?.run_spool === spool ? row.run_event ?? 0 : 0;
        const fresh = events.filter(({ n }) => n > known).sort((a, b) => a.n - b.n);
        if (fresh.length === 0) return;
        await tx.updateTable("nodes").set({ run_spool: spool, run_event: fresh.at(-1)!.n })
          .where("account_id", "=", accountId).where("id", "=", id).execute();
        await appendAudit(tx, writer, fresh.map(({ entry }) => ({ ...entry, accountId })));
      }),

    // a record goes with others', behind still others; its caller waits for as long as his request may take
    recordAudit: (entries) =>
      timed(async (endsAt) => {
        const late = () => asStoreError(new Error("the records before took all the time"));
        using limit = deadline(endsAt - performance.now(), late);
        await abortable(gathered(entries), limit.signal);
      }),

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

    auditHeadAt: (seq) =>
      single(async () =>
        await db.selectFrom("audit").select(["seq", "hash"]).where("seq", "=", seq)
          .executeTakeFirst()
      ),

    async exportAudit(sink, { holder, limit, now }, deliver) {
      const after = await transaction((tx) => holdSink(tx, sink, { holder, now }));
      if (after === undefined) return false;
      const rows = await single(() => auditPage(db, after, limit));
      const last = rows.at(-1);
      if (!last) return false;
      await deliver(rows.map(auditRecord));
      await transaction((tx) => advanceSink(tx, sink, holder, last.seq));
      return rows.length === limit;
    },

    auditHead: () => transaction(readHead),

    verifyAudit: (options) =>
      outsideRequests(() =>
        verifyAudit((after, limit) => single(() => auditPage(db, after, limit)), options)
      ),

    async backup(head, write) {
      try {
        await snapshot(async (reader) => {
          for await (const lines of writeBackup(reader, head)) await write(lines);
        });
      } catch (error) {
        throw asStoreError(error);
      }
    },

    namesOf: (accountId, ids) =>
      single(async () => {
        if (ids.length === 0) return new Map();
        const users = db.selectFrom("users").select(["id", "name"])
          .where("account_id", "=", accountId).where("id", "in", ids);
        const nodes = db.selectFrom("nodes").select(["id", "name"])
          .where("account_id", "=", accountId).where("id", "in", ids);
        const rows = await users.unionAll(nodes).execute();
        // a removed user's name has his id behind it
        return new Map(rows.map(({ id, name }) => [id, name.replace(/#.*$/, "")]));
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

async function readFirstAccount(db: Kysely<Tables>): Promise<string | undefined> {
  const row = await db.selectFrom("accounts").select("account_id")
    .orderBy("created_at").orderBy("account_id").limit(1).executeTakeFirst();
  return row?.account_id;
}

async function readFirstUser(db: Kysely<Tables>): Promise<User | undefined> {
  const accountId = await readFirstAccount(db);
  if (accountId === undefined) return undefined;
  const row = await db.selectFrom("users").selectAll().where("account_id", "=", accountId)
    .where("removed_at", "is", null)
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
      .leftJoin("rules", "rules.user_id", "users.id")
      .select([
        "user_tokens.account_id as accountId",
        "users.id",
        "users.name",
        "user_tokens.id as tokenId",
        "hash",
        "expires_at as expiresAt",
        "last_used_at as lastUsedAt",
        "scopes",
        "rules.id as ruleId",
        "rules.name as ruleName",
        "grant_text as grantText",
      ])
      .where("hash", "=", none).where("revoked_at", "is", null).where("removed_at", "is", null)
      .orderBy("rules.created_at").orderBy("rules.name").compile(),
    nodeByToken: db.selectFrom("nodes")
      .leftJoin("revocation_versions", "revocation_versions.account_id", "nodes.account_id")
      .selectAll("nodes").select("revocation_versions.version as listVersion")
      .where("token_hash", "=", none).compile(),
    keyRevoked: db.selectFrom("revocations").select("id").where("account_id", "=", "")
      .where("kind", "=", "").where("id", "=", "").compile(),
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
