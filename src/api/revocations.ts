/** What is not to be believed any more: as people ask for it, and as nodes are told, signed. */
import * as v from "valibot";
import { idText, keyLine, seconds } from "./fields.ts";

/** A list of all that an account may hold, and room. */
export const MAX_LIST_BYTES = 2 * 1024 * 1024;

/** What the operations key signed (ca/operations.ts). */
export const SignedStatement = v.object({
  payload: v.pipe(v.string(), v.maxLength(MAX_LIST_BYTES)),
  certificate: keyLine,
  /** base64 */
  signature: v.pipe(v.string(), v.maxLength(128)),
});
export type SignedStatement = v.InferOutput<typeof SignedStatement>;

const version = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** The payload of a revocation list. A kind that a reader does not know is one that it would not enforce. */
export const RevocationList = v.object({
  account_id: idText,
  version,
  /** Epoch seconds. */
  issued_at: seconds,
  entries: v.array(v.object({
    kind: v.picklist(["token", "user", "cert", "key", "account"]),
    id: idText,
    /** Of users and accounts, epoch seconds: what was issued later is good. */
    before: v.optional(seconds),
  })),
});
export type RevocationList = v.InferOutput<typeof RevocationList>;

const SERIAL = /^(?:0|[1-9][0-9]{0,19})$/, FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;

/** POST /v1/revocations. The id: of a token or a node, of a user or his name, a serial, a fingerprint. */
export const RevocationRequest = v.pipe(
  v.strictObject({
    kind: v.picklist(
      ["token", "user", "node", "cert", "key"],
      "kind: one of token, user, node, cert, key",
    ),
    id: idText,
    reason: v.optional(v.pipe(v.string(), v.trim(), v.maxLength(200)), ""),
  }),
  v.check(
    ({ kind, id }) => kind !== "cert" || SERIAL.test(id),
    "id: a certificate is revoked by its serial number",
  ),
  v.check(
    ({ kind, id }) => kind !== "key" || FINGERPRINT.test(id),
    "id: a key is revoked by its fingerprint, SHA256:… as ssh-keygen -l prints it",
  ),
);
export type RevocationRequest = v.InferInput<typeof RevocationRequest>;

export const RevocationAnswer = v.object({
  kind: v.string(),
  /** As it is listed: of a user named by his name, the id. */
  id: v.string(),
  /** Of the account's list that says so. A removed node is in none: the control plane stops naming it. */
  version,
});
export type RevocationAnswer = v.InferOutput<typeof RevocationAnswer>;

/** GET /v1/revocations, the newest first; times in epoch seconds. */
export const Revocations = v.object({
  version,
  revocations: v.array(v.object({
    kind: v.string(),
    id: v.string(),
    before: v.nullable(v.number()),
    version,
    revoked_at: v.number(),
    by: v.string(),
    reason: v.string(),
  })),
});
export type Revocations = v.InferOutput<typeof Revocations>;

/** POST /v1/nodes/revocations, by a node that was asked for the list it holds; the answer is that of now. */
export const HeldRevocationsRequest = v.object({
  node_id: idText,
  revocation_list: SignedStatement,
});
export const HeldRevocationsAnswer = v.object({ revocation_list: v.optional(SignedStatement) });
export type HeldRevocationsAnswer = v.InferOutput<typeof HeldRevocationsAnswer>;
