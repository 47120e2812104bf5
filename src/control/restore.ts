/** `openbox restore`: a backup in the place of the database of a control plane that is stopped. */
import { OpenboxError } from "../errors.ts";
import { createPrivateFile, readPrivateFile } from "../home/private_file.ts";
import { homePaths } from "../home/paths.ts";
import type { Host } from "../host.ts";
import { checkBackup } from "../store/backup.ts";
import type { Restored } from "../store/restore.ts";
import { bySystem } from "./bootstrap.ts";
import { restoreSqlite } from "../store/sqlite.ts";
import { type ControlSettings, readControlSettings } from "./settings.ts";

export interface RestoreReport extends Restored {
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Where the database that was there before is now. */
  readonly replaced: string | undefined;
  /** What became of the CA's keys. */
  readonly ca: "restored" | "kept" | "absent";
}

const MAX_CA_BYTES = 64 * 1024;

/** `lines` gives those of the backup anew at each call; `db` is as `openbox control --db` has it. */
export async function restore(
  lines: () => AsyncIterable<string>,
  { db }: { readonly db: string | undefined },
  host: Host,
): Promise<RestoreReport> {
  const { database, ca } = readControlSettings({ db }, host), { clock } = host;
  const backup = await checkBackup(lines);
  const { createdAt, extra } = backup.head;
  const options = { backup, audit: bySystem("restore", clock.now()) };
  if (database.kind === "postgres") {
    const { restorePostgres } = await import("../store/postgres.ts");
    const restored = await restorePostgres(database.dsn, {
      ...options,
      carry: undefined,
      now: clock.now(),
    });
    return { ...restored, createdAt, replaced: undefined, ca: await restoreCa(ca, extra.ca) };
  }
  // in the home the directory is made with it; an empty file is no database yet
  if (database.kind === "home") await createPrivateFile(database.path, "");
  const restored = await restoreSqlite(database.path, { ...options, clock });
  await setHeadAside(host);
  return { ...restored, createdAt, ca: await restoreCa(ca, extra.ca) };
}

/** The keys that are here are those that nodes and clients believe: they stay. */
async function restoreCa(
  ca: ControlSettings["ca"],
  text: string | undefined,
): Promise<RestoreReport["ca"]> {
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
