/**
 * How a call of the HTTP interface is declared: its method, its path, who may make it, what its body is
 * and every answer that it gives. Who may and what is answered are part of the declaration, so that a
 * route without a rule, or with an answer that GET /openapi.json does not know, cannot be written. A verb
 * that takes limits is asked for once more by the handler, who knows what they are held against.
 */
import * as v from "valibot";
import type { Clock } from "../clock.ts";
import { type Code, OpenboxError } from "../errors.ts";
import type { AuditAction, AuditEntry, AuditHead } from "../store/audit.ts";
import type { Verb } from "../access/grant.ts";
import { excerpt } from "../ssh/wire.ts";
import type { EnrolledNode, Store, TokenUser } from "../store/store.ts";
import { requireAllowed, requireVerb } from "./allow.ts";
import { authenticateNode, authenticateUser } from "./authenticate.ts";
import type { ControlCa } from "./ca.ts";
import type { Denials } from "./denials.ts";
import type { TrustedProxies } from "./forwarded.ts";
import type { Observer } from "./observe.ts";
import type { RateLimit } from "./rate_limit.ts";
import type { RevocationLists } from "./revocation_lists.ts";

/** What the handlers work on. */
export interface Control {
  readonly store: Store;
  readonly ca: ControlCa;
  readonly revocationLists: RevocationLists;
  readonly clock: Clock;
  /** Only this machine reaches the control plane. */
  readonly loopback: boolean;
  /** The address that others use; undefined: the one by which the caller got here. */
  readonly publicUrl: string | undefined;
  readonly proxies: TrustedProxies;
  /** Plain HTTP is for proxies, and for this machine: from others it would carry tokens in the clear. */
  readonly proxiesOnly: boolean;
  readonly observer: Observer;
  /** By user id. */
  readonly dispatches: RateLimit;
  /** By token id: which looks at oneself are on record as a login. */
  readonly logins: RateLimit;
  /** By node id: calls with what happened to its runs. */
  readonly runReports: RateLimit;
  /** By user id: tokens that users make for themselves. */
  readonly newTokens: RateLimit;
  /** By source address: all requests of other machines. */
  readonly requests: RateLimit;
  /** By source address: what is answered with 401. */
  readonly refusals: RateLimit;
  readonly denials: Denials;
  /** The newest head of the audit that was signed, from outside the database. */
  readonly keptHead: () => Promise<AuditHead | undefined>;
  /** Hears of each user token that was good. */
  readonly tokenUsed: (token: string) => void;
}

/**
 * `public`: anybody. `user`, `node`: the bearer token of one. `enroll_token`: anybody, since the
 * token is in the body and the handler spends it in the transaction that makes the node.
 */
export type AuthRule = "public" | "user" | "node" | "enroll_token";

/** `self`: every user, since it is about him alone. */
export type Needs = Verb | "self";

export interface Route extends Declared {
  readonly auth: AuthRule;
  /** Of a user. */
  readonly needs?: Needs;
  answer(request: ControlRequest, control: Control): Promise<Answer>;
}

/** What a route says of itself; GET /openapi.json is made of it. */
export interface Declared {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** As hono has it, `:id` being a parameter. */
  readonly path: string;
  /** One line, for the reader of the API's description. */
  readonly summary: string;
  /** The parameters behind the `?` and what they mean. */
  readonly query?: Readonly<Record<string, string>>;
  /** Absent: a body is not read. */
  readonly body?: v.GenericSchema;
  /** Bytes of the body; 64 KiB unless said. */
  readonly maxBody?: number;
  readonly answers: Answers;
  /** The codes of its own errors; those that every route of its rule has are known (openapi.ts). */
  readonly refuses?: readonly Code[];
  /** Answered whatever host the request names: for those who look whether we live. */
  readonly anyHost?: boolean;
}

type Success = 200 | 201 | 204;
/** By status: the schema of a JSON body, the content type of a text, or null where there is no body. */
export type Answers = { readonly [S in Success]?: v.GenericSchema | ContentType | null };
export type ContentType = `${string}/${string}`;

/** What a handler may return: one of the answers that it declares. */
export type AnswerOf<A extends Answers> = {
  [S in keyof A & Success]: A[S] extends v.GenericSchema
    ? { readonly status: S; readonly body: v.InferInput<A[S]> }
    : A[S] extends string
      ? { readonly status: S; readonly body: string | ReadableStream<Uint8Array> }
    : { readonly status: S };
}[keyof A & Success];

/** A request before anybody looked at who sends it. */
export interface ControlRequest {
  /** Of the path; `query` is undefined for one that is absent or empty. */
  param(name: string): string;
  query(name: string): string | undefined;
  readonly authorization: string | undefined;
  /** The address of who sends it, without a port; of a proxy of ours, what that says (forwarded.ts). */
  readonly source: string;
  /** Its name in the log, the audit and the answer to a failure. */
  readonly id: string;
  /** Who sends it is known now, so that a refusal from here on tells who was refused. */
  identified(caller: Caller): void;
  /** `https://box:8443`, as the caller wrote it. */
  readonly origin: string;
  /** The parsed JSON object, `maxBytes` long at most; an empty body is `{}`. */
  readBody(maxBytes?: number): Promise<object>;
}

export interface Call<Body> extends Pick<ControlRequest, "param" | "query" | "origin"> {
  readonly body: Body;
  /** What the audit is to say of an act of this call. */
  audit(action: AuditAction, what?: AuditedAct): AuditEntry;
}

/** Who acts, as the audit names him. */
export type Caller = Pick<AuditEntry, "accountId" | "actor" | "tokenId">;
export type AuditedAct = Pick<AuditEntry, "subject" | "detail">;

export interface Answer {
  readonly status: Success;
  /** As the route declares it for this status. */
  readonly body?: unknown;
}

interface Declaration<S extends v.GenericSchema, A extends Answers> extends Declared {
  readonly body?: S;
  readonly answers: A;
}
type NoBody = v.UndefinedSchema<undefined>;

export function publicRoute<const A extends Answers, S extends v.GenericSchema = NoBody>(
  declaration: Declaration<S, A>,
  handle: (call: Call<v.InferOutput<S>>, control: Control) => Promise<AnswerOf<A>>,
): Route {
  return {
    ...declaration,
    auth: "public",
    answer: async (request, control) =>
      await handle(await readCall(request, declaration, ANYBODY, control), control),
  };
}

/** The rule of a handler that spends the enrollment token in its body. */
export const enrollRoute = <const A extends Answers, S extends v.GenericSchema>(
  declaration: Declaration<S, A>,
  handle: (call: Call<v.InferOutput<S>>, control: Control) => Promise<AnswerOf<A>>,
): Route => ({ ...publicRoute(declaration, handle), auth: "enroll_token" });

export function userRoute<const A extends Answers, S extends v.GenericSchema = NoBody>(
  declaration: Declaration<S, A> & { readonly needs: Needs },
  handle: (
    call: Call<v.InferOutput<S>>,
    user: TokenUser,
    control: Control,
  ) => Promise<AnswerOf<A>>,
): Route {
  return {
    ...declaration,
    auth: "user",
    async answer(request, control) {
      const user = await authenticateUser(request, control);
      const caller = { accountId: user.accountId, actor: user.id, tokenId: user.tokenId };
      request.identified(caller);
      const { needs } = declaration;
      // before the body is read: what it says is nobody's who may not
      if (needs === "run" || needs === "enroll") requireVerb(user, needs);
      else if (needs !== "self") requireAllowed(user, { verb: needs });
      return await handle(await readCall(request, declaration, caller, control), user, control);
    },
  };
}

export function nodeRoute<const A extends Answers, S extends v.GenericSchema = NoBody>(
  declaration: Declaration<S, A>,
  handle: (
    call: Call<v.InferOutput<S>>,
    node: EnrolledNode,
    control: Control,
  ) => Promise<AnswerOf<A>>,
): Route {
  return {
    ...declaration,
    auth: "node",
    async answer(request, control) {
      const node = await authenticateNode(request, control);
      const caller = { accountId: node.accountId, actor: node.id };
      request.identified(caller);
      return await handle(
        await readCall(request, declaration, caller, control),
        node,
        control,
      );
    },
  };
}

const ANYBODY: Caller = { accountId: undefined, actor: "anonymous" };

async function readCall<S extends v.GenericSchema>(
  request: ControlRequest,
  { body: schema, maxBody }: { readonly body?: S; readonly maxBody?: number },
  caller: Caller,
  { clock }: Pick<Control, "clock">,
): Promise<Call<v.InferOutput<S>>> {
  const { origin, source, id: requestId } = request;
  return {
    audit: (action, what) => ({
      ...caller,
      ...what,
      at: clock.now(),
      action,
      outcome: "allowed",
      source,
      requestId,
    }),
    origin,
    param: (name) => request.param(name),
    query: (name) => request.query(name),
    body: schema && validate(schema, await request.readBody(maxBody)),
  };
}

/** A key that a strict body does not have is something that a newer caller wants held, and that we would not hold. */
function validate<S extends v.GenericSchema>(schema: S, body: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, body, { abortEarly: true });
  if (result.success) return result.output;
  const issue: v.BaseIssue<unknown> = result.issues[0];
  const path = v.getDotPath(issue);
  if (issue.type === "strict_object" && issue.expected === "never") {
    const at = JSON.stringify(excerpt(path ?? ""));
    throw new OpenboxError(
      "upgrade_required",
      `This control plane does not know ${at} of such a request, so it could not hold it`,
      { hint: "update the control plane, or leave that out" },
    );
  }
  // our own messages are whole sentences; valibot's say what is wrong, not where
  const message = path && issue.message.startsWith("Invalid ")
    ? `${path}: ${issue.message}`
    : issue.message;
  throw new OpenboxError(codeOf(path?.split(".")[0]), message);
}

function codeOf(field: string | undefined): Code {
  switch (field) {
    case "name":
    case "tag":
    case "tags":
    case "session_id":
      return "invalid_name";
    case "client_pubkey":
    case "host_pubkey":
      return "bad_public_key";
    default:
      return "bad_request";
  }
}
