/**
 * A whole database as lines of JSON, the same from SQLite and from Postgres: a head that says of which
 * schema, a line a row, and a foot with the count and the SHA-256 of all before, so that what was cut off
 * is known. Whoever reads rows gives a view that no write changes while it is read.
 */
import { createHash } from "node:crypto";
import { type Kysely, sql, type Transaction } from "kysely";
import * as v from "valibot";
import { toBase64 } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { auditPage } from "./audit.ts";
import type { Tables } from "./tables.ts";

/** The tables in the order in which their rows can be put in, with what orders the rows of each. */
const TABLES = {
  accounts: ["account_id"],
  users: ["id"],
  rules: ["id"],
  user_tokens: ["created_at", "id"],
  enroll_tokens: ["id"],
  nodes: ["id"],
  node_tags: ["account_id", "tag", "node_id"],
  sessions: ["account_id", "user_id", "name"],
  session_ends: ["account_id", "node_id", "user_id", "name"],
  serial_blocks: ["first"],
  revocation_versions: ["account_id"],
  list_versions: ["account_id", "version"],
  revocations: ["account_id", "kind", "id"],
  operations_certs: ["public_key"],
  ca_rotations: ["kind", "seq"],
  ca_store: ["id"],
  audit: ["seq"],
  audit_sinks: ["sink"],
} as const satisfies Record<Exclude<keyof Tables, "schema_migrations">, readonly string[]>;

type TableName = keyof typeof TABLES;
const NAMES = Object.keys(TABLES) as readonly TableName[];

/** Of one read: between two of them others get their turn. */
const PAGE = 1000;
const FORMAT = 1;

export interface BackupHead {
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly migrations: readonly string[];
  /** Whatever belongs to the installation and lies outside its database. */
  readonly extra: Readonly<Record<string, string>>;
}

/** The lines of a backup, each with its line break. `reader` is one view of the database. */
export async function* writeBackup(
  reader: Kysely<Tables>,
  { createdAt, extra }: Pick<BackupHead, "createdAt" | "extra">,
): AsyncGenerator<string> {
  const hash = createHash("sha256");
  let rows = 0;
  const line = (value: unknown): string => {
    const text = `${JSON.stringify(value)}\n`;
    hash.update(text);
    return text;
  };
  const ran = await reader.selectFrom("schema_migrations").select("name").orderBy("name").execute();
  yield line({
    openbox_backup: FORMAT,
    created_at: createdAt,
    migrations: ran.map(({ name }) => name),
    extra,
  });
  for (const table of NAMES) {
    for await (const page of pages(reader, table)) {
      rows += page.length;
      yield page.map((row) => line([table, encodeRow(row)])).join("");
    }
  }
  yield `${JSON.stringify({ rows, sha256: hash.digest("hex") })}\n`;
}

type Row = Readonly<Record<string, unknown>>;

async function* pages(reader: Kysely<Tables>, table: TableName): AsyncGenerator<readonly Row[]> {
  if (table === "audit") return yield* auditPages(reader);
  for (let offset = 0;; offset += PAGE) {
    let query = reader.selectFrom(table).selectAll().limit(PAGE).offset(offset);
    for (const column of TABLES[table]) query = query.orderBy(sql.ref(column));
    const page = await query.execute();
    if (page.length > 0) yield page;
    if (page.length < PAGE) return;
    await nextTurn();
  }
}

/** The one table that grows without end: by its number, not by counting from the start. */
async function* auditPages(reader: Kysely<Tables>): AsyncGenerator<readonly Row[]> {
  for (let after = 0;;) {
    const page = await auditPage(reader, after, PAGE);
    if (page.length > 0) yield page;
    if (page.length < PAGE) return;
    after = page.at(-1)!.seq;
    await nextTurn();
  }
}

const nextTurn = () => new Promise<void>((resolve) => setTimeout(resolve));

const encodeRow = (row: Row): Row =>
  Object.fromEntries(
    Object.entries(row).map(([column, value]) => [
      column,
      value instanceof Uint8Array ? { base64: toBase64(value) } : value,
    ]),
  );

const Head = v.object({
  openbox_backup: v.number(),
  created_at: v.number(),
  migrations: v.pipe(v.array(v.string()), v.minLength(1)),
  extra: v.record(v.string(), v.string()),
});
const Foot = v.object({ rows: v.number(), sha256: v.string() });
const Value = v.union([
  v.null(),
  v.string(),
  v.number(),
  v.pipe(
    v.strictObject({ base64: v.string() }),
    v.transform(({ base64 }) => Uint8Array.fromBase64(base64)),
  ),
]);
const Line = v.tuple([v.picklist(NAMES), v.record(v.string(), Value)]);

function parseHead(line: string): BackupHead {
  const head = v.safeParse(Head, parseJson(line));
  if (!head.success) throw damaged("it does not begin as one");
  if (head.output.openbox_backup > FORMAT) throw damaged("a newer openbox wrote it");
  const { created_at: createdAt, migrations, extra } = head.output;
  return { createdAt, migrations, extra };
}

declare const whole: unique symbol;

/** A backup that was read from its head to its end once, and is as it was written. */
export interface WholeBackup {
  readonly [whole]: true;
  readonly head: BackupHead;
  readonly rows: number;
  /** The lines once more. */
  readonly lines: () => AsyncIterable<string>;
}

/** Reads all of it. `lines` gives them anew at each call, without line breaks. Throws `bad_file` where it is not whole. */
export async function checkBackup(lines: () => AsyncIterable<string>): Promise<WholeBackup> {
  const hash = createHash("sha256");
  let head: BackupHead | undefined, foot: v.InferOutput<typeof Foot> | undefined, rows = 0;
  for await (const line of lines()) {
    if (foot) throw damaged("it goes on behind its end");
    const end = v.safeParse(Foot, parseJson(line));
    if (head && end.success) {
      foot = end.output;
      continue;
    }
    hash.update(`${line}\n`);
    if (head) rows++;
    else head = parseHead(line);
  }
  if (!head) throw damaged("it is empty");
  if (!foot) throw damaged("its end is missing");
  if (foot.rows !== rows || foot.sha256 !== hash.digest("hex")) {
    throw damaged("it is not as it was written");
  }
  return { head, rows, lines } as Omit<WholeBackup, typeof whole> as WholeBackup;
}

/** Rows of one statement: Postgres takes 65,535 values. */
const MOST_ROWS = 200;

/** Puts the rows into a database that has the head's schema and none of them. */
export async function insertBackup(
  tx: Transaction<Tables>,
  { lines }: WholeBackup,
): Promise<void> {
  let batch: { readonly table: TableName; readonly rows: Row[] } | undefined, number = 0;
  const flush = async () => {
    if (batch) await tx.insertInto(batch.table).values(batch.rows as never).execute();
    batch = undefined;
  };
  for await (const line of lines()) {
    const json = parseJson(line);
    if (++number === 1 || v.is(Foot, json)) continue;
    const parsed = v.safeParse(Line, json);
    if (!parsed.success) throw damaged(`line ${number} is no row`);
    const [table, row] = parsed.output;
    if (batch && (batch.table !== table || batch.rows.length === MOST_ROWS)) await flush();
    batch ??= { table, rows: [] };
    batch.rows.push(row);
  }
  await flush();
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

const damaged = (why: string) =>
  new OpenboxError("bad_file", `This is no backup that can be used: ${why}`, {
    hint: "openbox backup FILE makes one",
  });
