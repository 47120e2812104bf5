/** Whether the caller may: the decision of `access`, as the proof that an act asks for or as the refusal that is answered. */
import { type Ask, decide, type Decision, mayEver, type RunAsk } from "../access/decide.ts";
import type { Verb } from "../access/grant.ts";
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";
import type { Candidate, TokenUser } from "../store/store.ts";

declare const allowed: unique symbol;

/** A run that the user's rules and the token's scopes allow, with what they leave open filled in. */
export interface AllowedRun {
  readonly [allowed]: "run";
  readonly user: TokenUser;
  readonly node: Candidate;
  /** A session's name. */
  readonly session: string | undefined;
  /** Where they are undefined the caller may choose. */
  readonly isolation: string | undefined;
  readonly login: string | undefined;
  /** The name of the rule. */
  readonly rule: string;
}

/** Throws `not_allowed` where the user's rules do not allow it, `scope` where only this token does not. */
export function requireAllowed(user: TokenUser, ask: Ask): void {
  const decision = decide(user, ask);
  if (!decision.allowed) throw denied(user, ask, decision);
}

/** That there is something with this verb that the caller may do. Throws as `requireAllowed`. */
export function requireVerb(user: TokenUser, verb: Verb): void {
  if (mayEver(user, verb)) return;
  const ruled = mayEver({ ...user, scopes: "all" }, verb);
  throw ruled
    ? refused(user, `no scope of the token is ${verb}`, "scopes", [verb])
    : refused(user, `no rule allows ${verb}`, "rules", [verb]);
}

/** A run, and what was decided of it. */
export interface Judged {
  readonly ask: RunAsk;
  readonly decision: Decision<RunAsk>;
}

/** Throws as `requireAllowed`. */
export function requireJudged(
  user: TokenUser,
  { ask, decision }: Judged,
): Extract<Decision<RunAsk>, { allowed: true }> {
  if (decision.allowed) return decision;
  throw denied(user, ask, decision);
}

/** The only way to an `AllowedRun`. Throws as `requireAllowed`. */
export function requireRun(
  user: TokenUser,
  node: Candidate,
  session: string | undefined,
  judged: Judged,
): AllowedRun {
  const decision = requireJudged(user, judged);
  const { isolation, login } = decision.ask;
  return {
    user,
    node,
    session,
    // a shell that stays is in one isolation
    isolation: isolation ?? (session === undefined ? undefined : "native"),
    login,
    rule: decision.rule.name,
  } as Omit<AllowedRun, typeof allowed> as AllowedRun;
}

function denied(
  user: TokenUser,
  ask: Ask,
  { by, why }: Extract<Decision, { allowed: false }>,
): OpenboxError {
  return refused(user, why, by, words(ask));
}

function refused(
  user: TokenUser,
  why: string,
  by: "rules" | "scopes",
  ask: readonly string[],
): OpenboxError {
  const explain = `openbox can ${[user.name, ...ask].map(quoteWord).join(" ")} explains it`;
  return by === "rules"
    ? new OpenboxError("not_allowed", `The user ${user.name} may not do this: ${why}`, {
      hint: `${explain}; who administers the account adds rules (openbox rule add)`,
    })
    : new OpenboxError("scope", `This token may not do this: ${why}`, {
      hint: `${explain}; another token of ${user.name} may do more (openbox token list)`,
    });
}

/** As `openbox can` takes it. */
function words(ask: Ask): readonly string[] {
  switch (ask.verb) {
    case "run":
      return [
        ...["run", "-n", ask.node.name],
        ...(ask.session ? ["-s"] : []),
        ...(ask.isolation === undefined ? [] : ["--isolate", ask.isolation]),
        ...(ask.login === undefined ? [] : ["--user", ask.login]),
      ];
    case "enroll":
      return ["enroll", ...ask.tags.flatMap((tag) => ["-t", tag])];
    default:
      return [ask.verb];
  }
}
