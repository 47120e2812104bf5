/** `openbox restore`: a backup in the place of the database of a control plane that is stopped. */
import { OpenboxError } from "../errors.ts";
import { createPrivateFile, readPrivateFile } from "../home/private_file.ts";
import { homePaths } from "../home/paths.ts";
import type { Host } from "../host.ts";
import { parseBackupHead } from "../store/backup.ts";
import type { Restored } from "../store/restore.ts";
import { bySystem } from "./bootstrap.ts";
import { readControlSettings } from "./settings.ts";

export interface RestoreReport extends Restored {
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Where the database that was there before is now. */
  readonly replaced: string | undefined;
  /** What became of the CA's keys. */
  readonly ca: "restored" | "kept" | "absent";
}

const MAX_CA_BYTES = 64 * 1024;

/** `lines` are those of the backup, without line breaks. `db` as `openbox control --db` has it. */
export async function restore(
  lines: AsyncGenerator<string>,
  { db }: { readonly db: string | undefined },
  host: Host,
): Promise<RestoreReport> {
  const settings = readControlSettings({ db }, host), { database } = settings;
  const first = await lines.next();
  const head = parseBackupHead(first.done ? "" : first.value);
  const options = {
    head,
    lines: withFirst(first.done ? "" : first.value, lines),
    audit: bySystem("restore", host.clock.now()),
  };
  if (database.kind === "postgres") {
    const { restorePostgres } = await import("../store/postgres.ts");
    const now = host.clock.now();
    const restored = await restorePostgres(database.dsn, { ...options, carry: undefined, now });
    const { createdAt } = head;
    return { ...restored, createdAt, replaced: undefined, ca: await restoreCa(head.extra.ca, host) };
  }
  const { restoreSqlite } = await import("../store/sqlite.ts");
  const restored = await restoreSqlite(database.path, { ...options, clock: host.clock });
  await setHeadAside(host);
  return { ...restored, createdAt: head.createdAt, ca: await restoreCa(head.extra.ca, host) };
}

async function* withFirst(first: string, rest: AsyncGenerator<string>): AsyncGenerator<string> {
  yield first;
  yield* rest;
}

/** The keys that are here are those that nodes and clients believe: they stay. */
async function restoreCa(text: string | undefined, host: Host): Promise<RestoreReport["ca"]> {
  const { ca } = readControlSettings({}, host);
  if (ca.kind !== "home") return "kept";
  if (await readPrivateFile(ca.path, { maxBytes: MAX_CA_BYTES }) !== undefined) return "kept";
  if (text === undefined) return "absent";
  if (await createPrivateFile(ca.path, text)) return "restored";
  throw new OpenboxError("conflict", `${ca.path} came while it was restored`);
}

/** It is a later one than the backup's: it would be missed in the chain for ever. */
async function setHeadAside(host: Host): Promise<void> {
  const path = homePaths(host).auditHead;
  await Deno.rename(path, `${path}.before-restore`).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
