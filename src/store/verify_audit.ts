/** Whether the record of what was done is as it was written (audit.ts). */
import type { AbortOptions } from "../abort.ts";
import { auditHash, type AuditHead, type AuditRow, EMPTY_CHAIN } from "./audit.ts";
import type { AuditCheck } from "./store.ts";

/** Rows of one look: between two of them other calls get their turn. */
const BATCH = 2000;

/**
 * Goes by the numbers, so that a row that was taken out or put in is found at its place. `read` gives the
 * next rows behind a number, in their order; it is called again and again, since all take longer than one
 * call of the database may.
 */
export async function verifyAudit(
  read: (after: number, limit: number) => Promise<readonly AuditRow[]>,
  { signal, kept = [] }: AbortOptions & { readonly kept?: readonly AuditHead[] },
): Promise<AuditCheck> {
  const wanted = Map.groupBy(kept, ({ seq }) => seq);
  let head = EMPTY_CHAIN;
  while (true) {
    signal?.throwIfAborted();
    const rows = await read(head.seq, BATCH);
    for (const row of rows) {
      const seq = head.seq + 1;
      if (row.seq !== seq) return { head, bad: { seq, why: "it is missing" } };
      const hash = auditHash(head.hash, row);
      if (hash !== row.hash) {
        return { head, bad: { seq, why: "it, or the one before, is not as it was written" } };
      }
      if (wanted.get(seq)?.some((head) => head.hash !== hash)) {
        return { head, bad: { seq, why: "it is another one than when its hash was written down" } };
      }
      head = { seq, hash };
    }
    if (rows.length < BATCH) return { head, bad: cutOff(head, kept) };
    await new Promise((resolve) => setTimeout(resolve));
  }
}

/** The end was taken away: nothing in the chain itself shows it. */
function cutOff(head: AuditHead, kept: readonly AuditHead[]): AuditCheck["bad"] {
  const last = Math.max(...kept.map(({ seq }) => seq), 0);
  if (last <= head.seq) return undefined;
  return {
    seq: head.seq + 1,
    why: `it is missing, with all up to ${last}, whose hash was written down`,
  };
}
