/** `control/audit_head.json`: the newest head of the audit that was signed, beside the database and not in it. */
import * as v from "valibot";
import type { SignedStatement } from "../ca/operations.ts";
import { readKeptJson } from "../home/kept_json.ts";
import { writePrivateFile } from "../home/private_file.ts";
import { OpenboxError } from "../errors.ts";
import type { AuditHead } from "../store/audit.ts";
import type { Store } from "../store/store.ts";

/** A head as it was signed. */
export interface KeptHead extends AuditHead {
  readonly statement: SignedStatement;
}

const VERSION = 1;

const HeadFile = v.object({
  version: v.literal(VERSION),
  seq: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  hash: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  statement: v.object({ payload: v.string(), certificate: v.string(), signature: v.string() }),
});

const KIND = {
  schema: HeadFile,
  version: VERSION,
  what: "a head of the audit",
  goKey: "hash",
  remedy: "start the control plane again",
} as const;

export const keepHead = (path: string) => (head: KeptHead): Promise<void> =>
  writePrivateFile(path, JSON.stringify({ version: VERSION, ...head }, null, 2) + "\n");

/** Undefined before the first was signed. */
export async function readKeptHead(path: string): Promise<AuditHead | undefined> {
  const file = await readKeptJson(path, KIND);
  return file && { seq: file.seq, hash: file.hash };
}

/**
 * Throws `audit_broken` where the chain does not hold the head that was signed: a backup was put in the
 * database's place, or somebody changed it.
 */
export async function requireKeptHead(
  kept: AuditHead,
  store: Pick<Store, "auditHeadAt">,
): Promise<void> {
  const found = await store.auditHeadAt(kept.seq);
  if (found?.hash === kept.hash) return;
  throw new OpenboxError(
    "audit_broken",
    found
      ? `Record ${kept.seq} is another one than when it was signed: the database was changed, or is a backup`
      : `Record ${kept.seq} was signed and is missing: the database was cut off, or is a backup`,
    { hint: "openbox audit verify; docs/audit.md says how to go on" },
  );
}
