/**
 * Refused calls in the audit, without the disk for somebody who sends a million: of one kind from one
 * source the first is told at once, the others of the same minute are counted.
 */
import type { Clock } from "../clock.ts";
import { toOpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import type { AuditEntry } from "../store/audit.ts";
import type { Store } from "../store/store.ts";
import type { Caller } from "./route.ts";

export interface Denial {
  /** The address, IPv6 by its network. */
  readonly source: string;
  readonly requestId: string;
  /** Method and path as they are declared. */
  readonly call: string;
  /** The error's. */
  readonly code: string;
  /** Of what somebody may not do: which rule or scope stands in the way. */
  readonly why?: string;
  /** Who it was, where the token told. */
  readonly caller: Caller | undefined;
}

export interface Denials {
  note(denial: Denial): void;
  /** Writes the counts of minutes that are over. */
  flush(): Promise<void>;
}

const GATHER_MS = 60_000;
/** Beyond so many kinds at once one record counts for all the others. */
const MOST_KINDS = 1000;

export function createDenials(
  { store, clock }: { store: Pick<Store, "recordAudit">; clock: Clock },
): Denials {
  let counts = new Map<string, { entry: AuditEntry; since: number; more: number }>();

  const write = (entries: readonly AuditEntry[]) =>
    store.recordAudit(entries).catch((error) => {
      log("control").error("refused calls cannot be recorded: {error}", {
        error: toOpenboxError(error),
      });
    });

  return {
    note(denial) {
      const now = clock.now();
      const key = JSON.stringify([
        denial.source,
        denial.call,
        denial.code,
        denial.caller?.actor,
      ]);
      const known = counts.get(key) ?? (counts.size >= MOST_KINDS ? counts.get(OTHERS) : undefined);
      if (known) return void known.more++;
      const others = counts.size >= MOST_KINDS;
      const entry = others ? OTHERS_ENTRY : toEntry(denial);
      counts.set(others ? OTHERS : key, { entry: { ...entry, at: now }, since: now, more: 0 });
      void write([{ ...entry, at: now }]);
    },

    async flush() {
      const now = clock.now();
      const kept: typeof counts = new Map(), entries: AuditEntry[] = [];
      for (const [key, kind] of counts) {
        // a clock that was set back ends the minute too
        if (now - kind.since < GATHER_MS && now >= kind.since) kept.set(key, kind);
        else if (kind.more > 0) {
          const { requestId: _, ...entry } = kind.entry;
          entries.push({ ...entry, at: now, detail: { ...entry.detail, more: kind.more } });
        }
      }
      counts = kept;
      if (entries.length > 0) await write(entries);
    },
  };
}

const OTHERS = "others";
/** It has a kind of record of its own, whether it is allowed or not. */
const DISPATCH = "POST /v1/dispatch";
const REQUEST = { action: "request", outcome: "denied" } as const;
const OTHERS_ENTRY: Omit<AuditEntry, "at"> = {
  ...REQUEST,
  accountId: undefined,
  actor: "anonymous",
  detail: { call: "many", code: "many" },
};

const toEntry = (denial: Denial): Omit<AuditEntry, "at"> => ({
  ...REQUEST,
  ...(denial.call === DISPATCH && { action: "dispatch" }),
  accountId: denial.caller?.accountId,
  actor: denial.caller?.actor ?? "anonymous",
  ...(denial.caller?.tokenId !== undefined && { tokenId: denial.caller.tokenId }),
  source: denial.source,
  requestId: denial.requestId,
  detail: {
    call: denial.call,
    code: denial.code,
    ...(denial.why !== undefined && { why: denial.why }),
  },
});
