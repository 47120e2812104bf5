/**
 * Entries of calls that run side by side, in one transaction: a call waits for one commit at most, and
 * the disk is asked once for all that came while it was busy.
 */
import type { AuditEntry } from "./audit.ts";

/** Of one transaction: what comes together at once is no more than the calls that are open. */
const MOST_AT_ONCE = 500;

/** Resolves when the entries are written; rejects, for all that were in it, where the transaction failed. */
export function gatherAudit(
  write: (entries: readonly AuditEntry[]) => Promise<void>,
): (entries: readonly AuditEntry[]) => Promise<void> {
  let waiting: Waiting[] = [];
  let writing = false;

  async function writeAll(): Promise<void> {
    writing = true;
    while (waiting.length > 0) {
      const now = waiting.slice(0, MOST_AT_ONCE);
      waiting = waiting.slice(MOST_AT_ONCE);
      try {
        await write(now.flatMap(({ entries }) => entries));
        for (const { resolve } of now) resolve();
      } catch (error) {
        for (const { reject } of now) reject(error);
      }
    }
    writing = false;
  }

  return (entries) =>
    new Promise((resolve, reject) => {
      waiting.push({ entries, resolve, reject });
      // after this turn, so that the first of several that come together does not go alone
      if (!writing) queueMicrotask(() => writing || writeAll());
    });
}

interface Waiting {
  readonly entries: readonly AuditEntry[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}
