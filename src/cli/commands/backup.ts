/** `openbox backup` and `openbox restore`: a control plane's database in one file, its CA's keys sealed inside. */
import type { Host } from "../../host.ts";
import { OpenboxError } from "../../errors.ts";
import { readLines, writeNewFile } from "../backup_file.ts";
import { openControl, readLogin } from "../login.ts";
import { printJson, printLine, printNote } from "../output.ts";
import { readPassphrase } from "../passphrase.ts";

export interface BackupFlags {
  readonly passphraseFile?: string;
  readonly withoutCa?: boolean;
  readonly json?: boolean;
}

/** Asks the control plane that runs; nothing stops meanwhile. */
export async function backup(flags: BackupFlags, host: Host, path: string): Promise<void> {
  const { signal } = host, login = await readLogin(host);
  await using control = openControl(login, host);
  const ca = flags.withoutCa ? undefined : await control.caStatus({ signal });
  const passphrase = ca && !ca.sealed
    ? await readPassphrase({ file: flags.passphraseFile, confirm: true }, host)
    : undefined;
  const content = await control.backup({ passphrase, withoutCa: flags.withoutCa ?? false }, {
    signal,
  });
  const bytes = await writeNewFile(path, content);
  if (flags.json) return printJson({ file: path, bytes }, host);
  await printLine(`${path}: ${bytes} bytes`, host);
}

export interface RestoreFlags {
  readonly db?: string;
  readonly json?: boolean;
}

/** On the control plane's own machine, while it is stopped. */
export async function restore(flags: RestoreFlags, host: Host, path: string): Promise<void> {
  const { restore } = await import("../../control/restore.ts");
  const report = await restore(() => readFile(path), { db: flags.db }, host);
  const { rows, createdAt, carried, replaced, ca, check } = report;
  const at = new Date(createdAt).toISOString();
  if (flags.json) {
    return printJson({
      rows,
      backup_at: at,
      carried_revocations: carried,
      replaced: replaced ?? null,
      ca,
      audit: { head: check.head, bad: check.bad ?? null },
    }, host);
  }
  await printLine(`restored ${rows} rows as of ${at}`, host);
  if (replaced) {
    await printNote(`what was there is ${replaced}; ${carried} later revocations hold on`, host);
  }
  if (check.bad) {
    await printNote(`warning: the audit of the backup is broken at record ${check.bad.seq}`, host);
  }
  await printNote(CA_NOTES[ca], host);
}

const CA_NOTES = {
  restored: "the CA's keys are restored, sealed: openbox ca unseal after the start",
  kept: "the CA's keys are those that were here",
  absent:
    "the backup has no CA keys: put them back before the start, or every node has to be enrolled anew",
} as const;

async function* readFile(path: string): AsyncGenerator<string> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound ? "there is no such file" : String(cause);
    throw new OpenboxError("bad_file", `Cannot read the backup ${path}: ${why}`, { cause });
  }
  yield* readLines(file.readable); // closes it, whoever stops first
}
