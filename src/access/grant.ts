/**
 * One thing that somebody may do: `read`, `run:tag=ci,isolation=docker`, `enroll:tag=ci`, `admin`. A rule
 * gives one to a user, a scope leaves one to a token, and both are written in this one form.
 *
 * What is not known here is refused: a limit that nobody holds would be no limit.
 */
import { OpenboxError } from "../errors.ts";
import { formatIsolation, parseIsolation } from "../isolation/spec.ts";
import { isLogin, isName } from "../names.ts";

export type Verb = "read" | "run" | "enroll" | "audit" | "admin";
export type LimitKey = "tag" | "node" | "isolation" | "session" | "login";

/** The values of one key are alternatives; keys hold together. */
export interface Limit {
  readonly key: LimitKey;
  readonly value: string;
}

export interface Grant {
  readonly verb: Verb;
  /** In the order written; none: the verb without limits. */
  readonly limits: readonly Limit[];
}

/** `admin` implies all others. */
export const VERBS: readonly Verb[] = ["read", "run", "enroll", "audit", "admin"];

const KEYS: Readonly<Record<Verb, readonly LimitKey[]>> = {
  read: [],
  run: ["tag", "node", "isolation", "session", "login"],
  enroll: ["tag"],
  audit: [],
  admin: [],
};

/** What a value must be, and how that is said. */
const VALUES: Readonly<Record<LimitKey, { is(value: string): boolean; readonly form: string }>> = {
  tag: { is: isName, form: "a tag" },
  node: { is: isName, form: "a node's id or name" },
  isolation: {
    is: isIsolationLimit,
    form: "native, docker, docker:IMAGE, nspawn or nspawn:/ABSOLUTE/DIR",
  },
  session: { is: (value) => value === "yes" || value === "no", form: "yes or no" },
  login: { is: isLogin, form: "the name of a login" },
};

const MAX_LENGTH = 1000, MAX_LIMITS = 32;

/** Throws `grant_invalid`, with what is taken. What it takes, `formatGrant` writes as it was. */
export function parseGrant(text: string): Grant {
  const refuse = (why: string, hint: string): never => {
    throw new OpenboxError("grant_invalid", `${JSON.stringify(text.slice(0, 80))}: ${why}`, {
      hint,
    });
  };
  if (text.length > MAX_LENGTH) refuse(`longer than ${MAX_LENGTH} characters`, "make it two");
  const colon = text.indexOf(":");
  const word = colon < 0 ? text : text.slice(0, colon);
  const verb = VERBS.find((known) => known === word) ??
    refuse(`unknown verb ${JSON.stringify(word.slice(0, 40))}`, `verbs: ${VERBS.join(", ")}`);
  if (colon < 0) return { verb, limits: [] };
  const keys = KEYS[verb];
  if (keys.length === 0) refuse(`${verb} takes no limits`, `write ${verb}`);
  const parts = text.slice(colon + 1).split(",");
  if (parts.length > MAX_LIMITS) refuse(`more than ${MAX_LIMITS} limits`, "make it two");
  return {
    verb,
    limits: parts.map((part): Limit => {
      const equals = part.indexOf("=");
      const name = equals < 0 ? part : part.slice(0, equals);
      const key = keys.find((known) => known === name) ??
        refuse(
          `unknown key ${JSON.stringify(name.slice(0, 40))}`,
          `keys of ${verb}: ${keys.join(", ")}, each as KEY=VALUE`,
        );
      const value = equals < 0 ? "" : part.slice(equals + 1);
      if (!VALUES[key].is(value)) {
        refuse(`${key}=${value.slice(0, 40)} is not taken`, `${key}= ${VALUES[key].form}`);
      }
      return { key, value };
    }),
  };
}

export const formatGrant = ({ verb, limits }: Grant): string =>
  limits.length === 0
    ? verb
    : `${verb}:${limits.map(({ key, value }) => `${key}=${value}`).join(",")}`;

/** The alternatives for `key`; none: it is not limited. */
export const limitsOn = ({ limits }: Grant, key: LimitKey): readonly string[] =>
  limits.filter((limit) => limit.key === key).map(({ value }) => value);

/** A kind, or one isolation in the form in which certificates name it: another writing would fit nothing. */
function isIsolationLimit(value: string): boolean {
  if (value === "docker" || value === "nspawn") return true;
  try {
    return formatIsolation(parseIsolation(value)) === value;
  } catch {
    return false;
  }
}
