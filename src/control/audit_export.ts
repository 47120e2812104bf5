/**
 * The audit outside the database: each minute its head is signed, logged, and kept in a file beside the
 * database; and where there is a syslog, every record goes there too, in order. What was changed behind
 * the control plane's back is then at odds with what others hold.
 */
import { hostname } from "node:os";
import type { SignedStatement } from "../ca/operations.ts";
import type { Clock } from "../clock.ts";
import { toOpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import { type AuditHead, type AuditRecord, EMPTY_CHAIN } from "../store/audit.ts";
import type { Store } from "../store/store.ts";
import { type KeptHead, requireKeptHead } from "./kept_head.ts";
import { formatSyslog, sendSyslog, type SyslogAddress, type SyslogMessage } from "./syslog.ts";

export interface AuditExportDeps {
  readonly store: Pick<Store, "auditHead" | "auditHeadAt" | "exportAudit">;
  readonly clock: Clock;
  /** Signs the head; rejects with `ca_locked` where nothing can be signed. */
  sign(payload: string): Promise<SignedStatement>;
  /** The newest that was signed before this start. */
  readonly kept: AuditHead | undefined;
  /** Keeps the newest signed head; undefined where there is no place for it. */
  readonly keep: ((head: KeptHead) => Promise<void>) | undefined;
  readonly syslog: SyslogAddress | undefined;
  /** Which process this is, for what one of several does at a time. */
  readonly holder: string;
}

const HEAD_MS = 60_000;
const SYSLOG_MS = 5_000;
/** Records of one call to the syslog. */
const BATCH = 500;

/** Until `signal` aborts, which resolves it; the last head is signed then too. */
export async function exportAudit(deps: AuditExportDeps, signal: AbortSignal): Promise<void> {
  await Promise.all([
    again(deps.clock, HEAD_MS, signal, "the audit's head cannot be signed", headSigner(deps)),
    ...(deps.syslog
      ? [
        again(deps.clock, SYSLOG_MS, signal, "the audit does not reach the syslog", () =>
          sendRecords(deps, deps.syslog!, signal)),
      ]
      : []),
  ]);
}

async function again(
  clock: Clock,
  everyMs: number,
  signal: AbortSignal,
  complaint: string,
  act: () => Promise<void>,
): Promise<void> {
  let failing = false;
  for (let last = false; !last;) {
    await clock.sleep(everyMs, { signal }).catch(() => last = true);
    try {
      await act();
      failing = false;
    } catch (error) {
      if (!failing) {
        log("control", "audit").error(`${complaint}: {error}`, { error: toOpenboxError(error) });
      }
      failing = true;
    }
  }
}

/** Nothing is signed twice: a chain that does not grow has one head. One without the last head gets none. */
function headSigner(
  { store, sign, kept, keep, syslog, clock }: AuditExportDeps,
): () => Promise<void> {
  let signed = kept ?? EMPTY_CHAIN;
  return async () => {
    const head = await store.auditHead();
    if (head.seq === signed.seq && head.hash === signed.hash) return;
    // a standby that took over without the last records, a database that was changed behind our back: to
    // sign over it would make it good
    if (signed.seq > 0) await requireKeptHead(signed, store);
    const at = clock.now(), hash = head.hash;
    const statement = await sign(headPayload(head, at));
    await keep?.({ seq: head.seq, hash, statement });
    log("control", "audit").info("head", { seq: head.seq, hash, statement });
    if (syslog) {
      const text = JSON.stringify({ seq: head.seq, hash, statement });
      await send(syslog, [{ at, severity: "notice", id: "audit-head", text }]);
    }
    signed = head;
  };
}

/** What is signed; times in epoch seconds. */
export const headPayload = ({ seq, hash }: AuditHead, at: number): string =>
  JSON.stringify({ seq, hash, at: Math.floor(at / 1000) });

/** All that came since, in order. After a crash the last batch may be sent twice: its numbers tell. */
async function sendRecords(
  { store, clock, holder }: AuditExportDeps,
  syslog: SyslogAddress,
  signal: AbortSignal,
): Promise<void> {
  const sink = `syslog ${syslog.protocol}://${syslog.host}:${syslog.port}`;
  let more: boolean;
  do {
    more = await store.exportAudit(
      sink,
      { holder, limit: BATCH, now: clock.now() },
      (records) => send(syslog, records.map(toMessage)),
    );
  } while (more && !signal.aborted);
}

const toMessage = (record: AuditRecord): SyslogMessage => ({
  at: record.at,
  severity: record.outcome === "denied" ? "warning" : "notice",
  id: "audit",
  text: JSON.stringify({
    ...record,
    at: new Date(record.at).toISOString(),
  }),
});

const send = (
  syslog: SyslogAddress,
  messages: readonly SyslogMessage[],
): Promise<void> => {
  const process = { hostname: hostname(), pid: Deno.pid };
  return sendSyslog(syslog, messages.map((message) => formatSyslog(message, process)));
};
