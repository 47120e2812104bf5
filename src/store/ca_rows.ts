/** The CA in the database: the steps of its rotations, its sealed keys, and what the nodes know of it. */
import { type Kysely, sql, type Transaction } from "kysely";
import { OpenboxError } from "../errors.ts";
import type { HeldTimes } from "./held_times.ts";
import type { CaNode, CaStep, CaText } from "./store.ts";
import type { Tables } from "./tables.ts";

type Tx = Transaction<Tables>;

/** There is one CA. */
const ID = 1;

/** Other than before after each step and each new text: both only grow. */
export async function readCaVersion(db: Kysely<Tables>): Promise<string> {
  const { rows: [row] } = await sql<{ steps: number; text: number }>`
    select (select count(*) from ca_rotations) as steps,
      (select coalesce(max(version), 0) from ca_store) as text`.execute(db);
  return `${row!.steps}.${row!.text}`;
}

/** In their order. */
export async function readCaSteps(db: Kysely<Tables>): Promise<CaStep[]> {
  const rows = await db.selectFrom("ca_rotations").selectAll()
    .orderBy("kind").orderBy("seq").execute();
  return rows.map((row): CaStep => ({
    kind: row.kind as CaStep["kind"],
    seq: row.seq,
    step: row.step as CaStep["step"],
    statement: row.statement ?? undefined,
    at: row.created_at,
  }));
}

/** Each number is taken once: of two control planes that take the same step one is refused. */
export async function insertCaSteps(tx: Tx, steps: readonly CaStep[]): Promise<void> {
  for (const { kind, seq, step, statement, at } of steps) {
    const { numInsertedOrUpdatedRows } = await tx.insertInto("ca_rotations").values({
      kind,
      seq,
      account_id: null,
      step,
      statement: statement ?? null,
      created_at: at,
    }).onConflict((conflict) => conflict.doNothing()).executeTakeFirstOrThrow();
    if (numInsertedOrUpdatedRows !== 1n) throw changedMeanwhile();
  }
}

export async function readCaText(db: Kysely<Tables>): Promise<CaText | undefined> {
  const row = await db.selectFrom("ca_store").select(["version", "text"]).where("id", "=", ID)
    .executeTakeFirst();
  return row && { version: row.version, text: row.text };
}

/** False where another was faster. */
export async function writeCaText(tx: Tx, { version, text }: CaText): Promise<boolean> {
  if (version === 0) {
    const inserted = await tx.insertInto("ca_store")
      .values({ id: ID, account_id: null, version: 1, text })
      .onConflict((conflict) => conflict.doNothing()).executeTakeFirst();
    return inserted.numInsertedOrUpdatedRows === 1n;
  }
  const updated = await tx.updateTable("ca_store").set({ version: version + 1, text })
    .where("id", "=", ID).where("version", "=", version).executeTakeFirst();
  return updated.numUpdatedRows === 1n;
}

/** Of all accounts, by name. */
export async function readCaNodes(db: Kysely<Tables>, seen: HeldTimes): Promise<CaNode[]> {
  const rows = await db.selectFrom("nodes")
    .select(["id", "name", "last_seen_at", "ca_acknowledged", "cert_held"])
    .where("deleted_at", "is", null).orderBy("name").orderBy("id").execute();
  return rows.map((row) => ({
    id: row.id,
    name: row.name,
    lastSeenAt: seen.latest(row.id, row.last_seen_at),
    caAcknowledged: row.ca_acknowledged ?? undefined,
    certHeld: row.cert_held ?? undefined,
  }));
}

export const changedMeanwhile = () =>
  new OpenboxError("conflict", "The CA was changed by somebody else just now", {
    hint: "openbox ca status",
  });
