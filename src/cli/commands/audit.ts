/** `openbox audit`: who did what, and whether the record of it is as it was written. */
import type { AuditHead, AuditRecord } from "../../api/audit.ts";
import { MAX_AUDIT_RECORDS } from "../../api/audit.ts";
import { utf8 } from "../../bytes.ts";
import type { ControlClient } from "../../client/control_client.ts";
import { OpenboxError } from "../../errors.ts";
import { escape } from "../../escape.ts";
import type { Host } from "../../host.ts";
import { parseDuration } from "../duration.ts";
import { openControl, readLogin } from "../login.ts";
import { printJson, printLine } from "../output.ts";

export interface AuditFlags {
  readonly since?: string;
  readonly limit?: string;
  readonly follow?: boolean;
  readonly json?: boolean;
}

const DEFAULT_LIMIT = 100;
const FOLLOW_MS = 1000;

/** Prints a record a line, with `--json` as JSON, and with `--follow` goes on until it is interrupted. */
export async function audit(flags: AuditFlags, host: Host): Promise<void> {
  const { clock, signal } = host;
  await using control = openControl(await readLogin(host), host);
  const since = flags.since === undefined ? undefined : parseSince(flags.since, clock.now());
  const limit = readLimit(flags.limit) ?? (since === undefined ? DEFAULT_LIMIT : undefined);
  let after = limit === undefined
    ? await printSince(control, since, flags, host)
    : await print(await control.audit({ newest: true, since, limit }, { signal }), flags, host) ??
      0;
  while (flags.follow) {
    await clock.sleep(FOLLOW_MS, { signal });
    const more = await control.audit({ after, limit: MAX_AUDIT_RECORDS }, { signal });
    after = await print(more, flags, host) ?? after;
  }
}

async function printSince(
  control: ControlClient,
  since: number | undefined,
  flags: AuditFlags,
  host: Host,
): Promise<number> {
  const limit = MAX_AUDIT_RECORDS;
  for (let after = 0;;) {
    const page = await control.audit({ after, since, limit }, { signal: host.signal });
    after = await print(page, flags, host) ?? after;
    if (page.length < limit) return after;
  }
}

/** Returns the last one's number. */
async function print(
  records: readonly AuditRecord[],
  { json }: AuditFlags,
  { stdout }: Host,
): Promise<number | undefined> {
  const lines = records.map((record) => json ? JSON.stringify(record) : toLine(record));
  if (lines.length > 0) await stdout.write(utf8(lines.join("\n") + "\n"));
  return records.at(-1)?.seq;
}

function toLine(record: AuditRecord): string {
  const { seq, time, outcome, action, actor, actor_name, subject, subject_name } = record;
  const detail = Object.entries(record.detail).filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name}=${typeof value === "string" ? word(value) : value}`);
  return [
    seq,
    time.replace("T", " ").replace(/\.\d+Z$/, "Z"),
    outcome,
    action,
    name(actor, actor_name),
    ...(subject === null ? [] : ["→", name(subject, subject_name)]),
    ...(record.source === null ? [] : [`from=${record.source}`]),
    ...detail,
  ].map((part) => escape(String(part))).join(" ");
}

const name = (id: string, known: string | null): string => known === null ? id : `${known}(${id})`;
const word = (value: string): string =>
  /^[\w@%+:,./=-]+$/.test(value) ? value : JSON.stringify(value);

/** `2h` ago, or a date that JavaScript reads, in UTC unless it says otherwise, as records show theirs; epoch seconds. */
function parseSince(text: string, now: number): number {
  const zone = /[T ]\d\d:\d\d[\d:.]*$/.test(text) ? "Z" : "";
  const at = /^\d{4}-/.test(text) ? Date.parse(text + zone) : now - parseDuration(text, "--since");
  if (!Number.isNaN(at)) return Math.max(0, Math.floor(at / 1000));
  throw new OpenboxError("usage", `--since ${JSON.stringify(text)} is no time`, {
    hint: "a span such as 2h or 7d, or a time such as 2026-01-31 or 2026-01-31T12:00:00Z",
  });
}

function readLimit(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,3}$/.test(text) && Number(text) <= MAX_AUDIT_RECORDS) return Number(text);
  throw new OpenboxError(
    "usage",
    `--limit ${JSON.stringify(text)} is not 1 to ${MAX_AUDIT_RECORDS}`,
    {
      hint: "--since TIME without --limit shows all from then on",
    },
  );
}

export interface AuditVerifyFlags {
  readonly head?: string;
  readonly json?: boolean;
}

/** Ends with 1 where a record is not as it was written. */
export async function auditVerify(flags: AuditVerifyFlags, host: Host): Promise<number> {
  const kept = flags.head === undefined ? undefined : parseHead(flags.head);
  await using control = openControl(await readLogin(host), host);
  const verdict = await control.verifyAudit({ kept }, { signal: host.signal });
  const { head, bad } = verdict;
  if (flags.json) {
    await printJson(verdict, host);
    return bad ? 1 : 0;
  }
  if (!bad) {
    await printLine(
      `${head.seq} records are as they were written; head ${head.seq}:${head.hash}`,
      host,
    );
    return 0;
  }
  throw new OpenboxError(
    "audit_broken",
    `The audit is not as it was written: of record ${bad.seq}, ${bad.why}`,
    {
      hint:
        `openbox audit --limit 20 shows what follows; a backup or the syslog has what was there`,
    },
  );
}

function parseHead(text: string): AuditHead {
  const [, seq, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (seq !== undefined && hash !== undefined) return { seq: Number(seq), hash };
  throw new OpenboxError("usage", `--head ${JSON.stringify(text)} is no head of an audit`, {
    hint: "it is SEQ:HASH, as openbox audit verify and the control plane's log print it",
  });
}
