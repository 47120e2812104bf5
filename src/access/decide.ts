/**
 * Whether somebody may do something: where one of the user's rules allows it and, unless the token has
 * no scopes of its own, one of those as well. Nothing else allows anything.
 *
 * What a call leaves open (the Go CLI and stock ssh name no isolation and no login) is filled in where a
 * limit is set on it, so that what is certified is never more than what was allowed.
 */
import { formatGrant, type Grant, type LimitKey, limitsOn, type Verb } from "./grant.ts";

export interface Rule {
  readonly id: string;
  /** Told where the rule decides. */
  readonly name: string;
  readonly grant: Grant;
}

/** What a token leaves of its user's rules; `all` leaves them as they are. */
export type Scopes = "all" | readonly Grant[];

/** A user's rules and the scopes of the token that he came with. */
export interface Rights {
  readonly rules: readonly Rule[];
  readonly scopes: Scopes;
}

export interface RunAsk {
  readonly verb: "run";
  readonly node: { readonly id: string; readonly name: string; readonly tags: readonly string[] };
  /** Undefined: the caller names none. */
  readonly isolation: string | undefined;
  /** In a shell that stays. */
  readonly session: boolean;
  /** Undefined: whom the node's owner chose. */
  readonly login: string | undefined;
}

export type Ask =
  | { readonly verb: "read" | "audit" | "admin" }
  /** The tags that the new nodes are to have. */
  | { readonly verb: "enroll"; readonly tags: readonly string[] }
  | RunAsk;

export type Decision<A extends Ask = Ask> =
  | {
    readonly allowed: true;
    /** What was allowed: the ask, with what the limits filled in. */
    readonly ask: A;
    readonly rule: Rule;
    /** Undefined for a token without scopes of its own. */
    readonly scope: Grant | undefined;
  }
  | {
    readonly allowed: false;
    /** Whose limit it is: the user's, or only this token's. */
    readonly by: "rules" | "scopes";
    readonly why: string;
  };

export function decide<A extends Ask>({ rules, scopes }: Rights, ask: A): Decision<A> {
  const refused: string[] = [], narrower: string[] = [];
  let ruled = false;
  for (const rule of rules) {
    const alone = fit([rule.grant], ask);
    if (alone.fits) ruled = true;
    else if (alone.why) {
      refused.push(`the rule ${rule.name} (${formatGrant(rule.grant)}) ${alone.why}`);
    }
    if (scopes === "all") {
      if (alone.fits) return { allowed: true, ask: alone.ask, rule, scope: undefined };
      continue;
    }
    for (const scope of scopes) {
      const both = fit([rule.grant, scope], ask);
      if (both.fits) return { allowed: true, ask: both.ask, rule, scope };
      if (both.why) narrower.push(`the scope ${formatGrant(scope)} ${both.why}`);
    }
  }
  const scoped = scopes === "all" || scopes.some((scope) => isFor(scope, ask.verb));
  return ruled || (!scoped && rules.some(({ grant }) => isFor(grant, ask.verb)))
    ? {
      allowed: false,
      by: "scopes",
      why: reason(narrower, `no scope of the token is ${ask.verb}`),
    }
    : { allowed: false, by: "rules", why: reason(refused, `no rule allows ${ask.verb}`) };
}

/** Whether there is anything with this verb that may be done. */
export const mayEver = ({ rules, scopes }: Rights, verb: Verb): boolean =>
  rules.some(({ grant }) => isFor(grant, verb)) &&
  (scopes === "all" || scopes.some((scope) => isFor(scope, verb)));

/** What the limits of `verb` name under `key`; empty: which one it is makes no difference. */
export const namedLimits = ({ rules, scopes }: Rights, verb: Verb, key: LimitKey): string[] => [
  ...new Set(
    [...rules.map(({ grant }) => grant), ...(scopes === "all" ? [] : scopes)]
      .filter((grant) => grant.verb === verb).flatMap((grant) => limitsOn(grant, key)),
  ),
];

const isFor = (grant: Grant, verb: Verb): boolean => grant.verb === verb || grant.verb === "admin";

const MAX_REASONS = 3;
const reason = (reasons: readonly string[], otherwise: string): string =>
  reasons.length === 0 ? otherwise : [...new Set(reasons)].slice(0, MAX_REASONS).join("; ");

type Fit<A> =
  | { readonly fits: true; readonly ask: A }
  /** Without a reason where a grant is for something else altogether. */
  | { readonly fits: false; readonly why?: string };

/** All of `grants` hold together. */
function fit<A extends Ask>(grants: readonly Grant[], ask: A): Fit<A> {
  if (!grants.every((grant) => isFor(grant, ask.verb))) return { fits: false };
  const limited = grants.filter(({ limits }) => limits.length > 0);
  if (limited.length === 0) return { fits: true, ask };
  switch (ask.verb) {
    case "run":
      return fitRun(limited, ask) as Fit<A>;
    case "enroll":
      return fitEnroll(limited, ask.tags) ?? { fits: true, ask };
    default:
      return { fits: true, ask };
  }
}

/** Undefined where it fits. A node without any of the tags would be one that the grant says nothing of. */
function fitEnroll(grants: readonly Grant[], tags: readonly string[]) {
  for (const grant of grants) {
    const allowed = limitsOn(grant, "tag");
    const other = tags.find((tag) => !allowed.includes(tag));
    if (other !== undefined) return no(`has not the tag ${other}`);
    if (tags.length === 0) return no("takes only nodes with one of its tags");
  }
  return undefined;
}

function fitRun(grants: readonly Grant[], ask: RunAsk): Fit<RunAsk> {
  for (const grant of grants) {
    const tags = limitsOn(grant, "tag"), nodes = limitsOn(grant, "node");
    if (tags.length > 0 && !tags.some((tag) => ask.node.tags.includes(tag))) {
      return no(`has not a tag of the node ${ask.node.name}`);
    }
    if (nodes.length > 0 && !nodes.includes(ask.node.id) && !nodes.includes(ask.node.name)) {
      return no(`is for other nodes than ${ask.node.name}`);
    }
    const session = limitsOn(grant, "session");
    if (session.length > 0 && !session.includes(ask.session ? "yes" : "no")) {
      return no(ask.session ? "is not for sessions" : "is for sessions only");
    }
  }
  const isolation = fitIsolation(grants, ask.isolation);
  if (!isolation.fits) return isolation;
  const login = fitLogin(grants, ask.login, isolation.ask);
  if (!login.fits) return login;
  return { fits: true, ask: { ...ask, isolation: isolation.ask, login: login.ask } };
}

/** Who names none means native; where that does not fit it is the only one that does. */
function fitIsolation(
  grants: readonly Grant[],
  asked: string | undefined,
): Fit<string | undefined> {
  const limited = grants.filter((grant) => isolationsOf(grant) !== undefined);
  const fits = (spec: string) =>
    limited.every((grant) =>
      isolationsOf(grant)!.some((one) => one === spec || one === kindOf(spec))
    );
  if (asked !== undefined) {
    return fits(asked) ? { fits: true, ask: asked } : no(`is not for ${asked}`);
  }
  if (limited.length === 0 || fits("native")) {
    return { fits: true, ask: limited.length === 0 ? undefined : "native" };
  }
  const named = [...new Set(limited.flatMap((grant) => isolationsOf(grant)!))];
  // a kind alone takes any image, so that none is the only one
  const open = named.some((one) => one === kindOf(one) && fits(one));
  const [only, ...more] = named.filter((one) => one !== kindOf(one) && fits(one));
  if (only !== undefined && more.length === 0 && !open) return { fits: true, ask: only };
  return no(`needs an isolation that is named, of ${named.join(", ")}`);
}

const kindOf = (isolation: string): string => isolation.split(":", 1)[0]!;

/** Undefined: any. A login is a native command's: a grant of logins alone is for no container, which is root there. */
function isolationsOf(grant: Grant): readonly string[] | undefined {
  const named = limitsOn(grant, "isolation");
  if (named.length > 0) return named;
  return limitsOn(grant, "login").length > 0 ? ["native"] : undefined;
}

/** A container has its image's login: there none is filled in. */
function fitLogin(
  grants: readonly Grant[],
  asked: string | undefined,
  isolation: string | undefined,
): Fit<string | undefined> {
  const limited = grants.map((grant) => limitsOn(grant, "login")).filter(({ length }) =>
    length > 0
  );
  const fits = (login: string) => limited.every((logins) => logins.includes(login));
  if (limited.length === 0) return { fits: true, ask: asked };
  if (asked !== undefined) {
    return fits(asked) ? { fits: true, ask: asked } : no(`is not for the login ${asked}`);
  }
  if (isolation !== "native") return { fits: true, ask: undefined };
  const [only, ...more] = [...new Set(limited.flat())].filter(fits);
  if (only !== undefined && more.length === 0) return { fits: true, ask: only };
  return no(`needs a login that is named, of ${[...new Set(limited.flat())].join(", ")}`);
}

const no = (why: string) => ({ fits: false, why }) as const;
