/** The fields that several resources share, and the limits on them. */
import * as v from "valibot";
import { isNodeId } from "../ids.ts";
import { NAME } from "../names.ts";

/** A node's name, a session's or a tag: never empty, never beginning like a flag, nothing a shell or a page would read. */
export const nameText = (what: string) =>
  v.pipe(
    v.string(),
    v.regex(
      NAME,
      `invalid ${what}: 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with -`,
    ),
  );

/** A node's: never one that looks like an id, since rules and targets take either. */
export const nodeName = v.pipe(
  nameText("name"),
  v.check((name) => !isNodeId(name), "invalid name: it looks like a node's id"),
);

const MAX_TAGS = 64;

/** `null` and absence are "none"; blanks around are cut and doubles dropped, order kept. */
export const tagList = v.pipe(
  v.nullish(v.array(v.pipe(v.string(), v.trim(), nameText("tag"))), []),
  v.transform((tags) => [...new Set(tags ?? [])]),
  v.maxLength(MAX_TAGS, `at most ${MAX_TAGS} tags`),
);

/** `VERB[:key=value,…]`; what it means is read where it is held. */
export const grantText = v.pipe(v.string(), v.minLength(1), v.maxLength(1000));

/** An id in any of our forms; look-ups decide whether it exists. */
export const idText = v.pipe(v.string(), v.minLength(1), v.maxLength(64));

/** `host:port`, IPv6 in brackets; which addresses are acceptable is the control plane's policy. */
export const addressText = v.pipe(v.string(), v.minLength(3), v.maxLength(255));

/** A key or certificate in authorized_keys form, one line. */
export const keyLine = v.pipe(
  v.string(),
  v.minLength(1),
  v.maxLength(16384),
  v.examples(["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIPVG4cCXLeJFNTD8dRX2clRuXkeBL6pHMvR9BMPhHwy"]),
);

export const os = v.picklist(["linux", "darwin"]);
export const arch = v.picklist(["amd64", "arm64"]);

/** The last that a `Date` can tell; in milliseconds it still is a whole number that every reader takes. */
const LAST_SECONDS = 8.64e12;

/** Epoch seconds. */
export const seconds = v.pipe(
  v.number(),
  v.safeInteger(),
  v.minValue(0),
  v.maxValue(LAST_SECONDS),
);
