/**
 * The control plane's calls (docs/protocol.md › HTTP) over fetch. What comes back is checked against
 * the schemas of `api` and limited in size and time; a failure arrives as a ControlError.
 */
import * as v from "valibot";
import { type AbortOptions, abortReason, deadline } from "../abort.ts";
import { type AuditHead, AuditPage, type AuditRecord, AuditVerdict } from "../api/audit.ts";
import { type CaRotateRequest, CaStatus } from "../api/ca.ts";
import { DispatchAnswer, type DispatchRequest } from "../api/dispatch.ts";
import { Health } from "../api/health.ts";
import { CanAnswer, type CanRequest } from "../api/can.ts";
import {
  EnrollToken,
  type EnrollTokenEntry,
  EnrollTokenList,
  type EnrollTokenRequest,
  RegisterAnswer,
  type RegisterRequest,
} from "../api/enroll.ts";
import { ErrorBody } from "../api/error.ts";
import { HeartbeatAnswer, type HeartbeatRequest } from "../api/heartbeat.ts";
import { Node, NodeList, type NodePatch } from "../api/nodes.ts";
import {
  HeldRevocationsAnswer,
  type HeldRevocationsRequest,
  RevocationAnswer,
  type RevocationRequest,
} from "../api/revocations.ts";
import { type NewRule, Rule, RuleList } from "../api/rules.ts";
import type { RunEvents } from "../api/run_events.ts";
import { type Session, SessionList } from "../api/sessions.ts";
import { CreatedToken, type NewToken, type Token, TokenList } from "../api/tokens.ts";
import { type NewUser, User, UserList } from "../api/users.ts";
import { Whoami } from "../api/whoami.ts";
import { concat, text } from "../bytes.ts";
import { type Code, isCode, OpenboxError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { requireSecure, type ServerUrl } from "./server_url.ts";

export interface ControlClientOptions {
  readonly server: ServerUrl;
  /** A user's or a node's; a register needs none. */
  readonly token?: Secret;
  /** PEM text of certificates to trust besides the built-in roots. */
  readonly tlsCa?: string;
  /** Plain HTTP to another machine is refused without it. */
  readonly insecureHttp?: boolean;
  /** For one whole call; 10 s unless said. */
  readonly deadlineMs?: number;
  /** Held during each call: to show a person what is waited for. */
  watch?(): AsyncDisposable;
}

/** Every call rejects with a ControlError for what the control plane refused, and with `control_unreachable` when it did not answer. */
export interface ControlClient extends AsyncDisposable {
  whoami(options?: AbortOptions): Promise<Whoami>;
  nodes(filter?: { readonly tag?: string }, options?: AbortOptions): Promise<readonly Node[]>;
  node(id: string, options?: AbortOptions): Promise<Node>;
  updateNode(id: string, patch: NodePatch, options?: AbortOptions): Promise<Node>;
  deleteNode(id: string, options?: AbortOptions): Promise<void>;
  sessions(options?: AbortOptions): Promise<readonly Session[]>;
  /** `ended`: the caller has ended its shell; else the node is told to. */
  deleteSession(
    name: string,
    how: { readonly ended: boolean },
    options?: AbortOptions,
  ): Promise<void>;
  createEnrollToken(request: EnrollTokenRequest, options?: AbortOptions): Promise<EnrollToken>;
  /** Those that can still make a node. */
  enrollTokens(options?: AbortOptions): Promise<readonly EnrollTokenEntry[]>;
  deleteEnrollToken(id: string, options?: AbortOptions): Promise<void>;
  users(options?: AbortOptions): Promise<readonly User[]>;
  createUser(user: NewUser, options?: AbortOptions): Promise<User>;
  deleteUser(id: string, how: RevokeHow, options?: AbortOptions): Promise<void>;
  /** The caller's own, unless said. */
  tokens(
    filter?: { readonly user?: string; readonly all?: boolean },
    options?: AbortOptions,
  ): Promise<readonly Token[]>;
  createToken(token: NewToken, options?: AbortOptions): Promise<CreatedToken>;
  deleteToken(id: string, how: RevokeHow, options?: AbortOptions): Promise<void>;
  /** Of all users, unless said. */
  rules(filter?: { readonly user?: string }, options?: AbortOptions): Promise<readonly Rule[]>;
  createRule(rule: NewRule, options?: AbortOptions): Promise<Rule>;
  deleteRule(
    id: string,
    how: Pick<RevokeHow, "force">,
    options?: AbortOptions,
  ): Promise<void>;
  can(question: CanRequest, options?: AbortOptions): Promise<CanAnswer>;
  register(request: RegisterRequest, options?: AbortOptions): Promise<RegisterAnswer>;
  /** A node's: gives back the list that it holds, and learns the one of now. */
  giveBackRevocations(
    request: v.InferInput<typeof HeldRevocationsRequest>,
    options?: AbortOptions,
  ): Promise<HeldRevocationsAnswer>;
  revoke(request: RevocationRequest, options?: AbortOptions): Promise<RevocationAnswer>;
  heartbeat(request: HeartbeatRequest, options?: AbortOptions): Promise<HeartbeatAnswer>;
  reportRuns(events: RunEvents, options?: AbortOptions): Promise<void>;
  dispatch(request: DispatchRequest, options?: AbortOptions): Promise<DispatchAnswer>;
  /** What it says of itself, without a token. Throws where it cannot be reached. */
  health(options?: AbortOptions): Promise<ControlHealth>;
  /** The lines of a backup as they come, however long that takes: `options` ends it. */
  backup(
    request: { readonly passphrase: Secret | undefined; readonly withoutCa: boolean },
    options: Required<AbortOptions>,
  ): Promise<ReadableStream<Uint8Array>>;
  caStatus(options?: AbortOptions): Promise<CaStatus>;
  rotateCa(request: CaRotateRequest, options?: AbortOptions): Promise<CaStatus>;
  sealCa(passphrase: Secret, options?: AbortOptions): Promise<CaStatus>;
  unsealCa(passphrase: Secret, options?: AbortOptions): Promise<CaStatus>;
  audit(query: AuditQuery, options?: AbortOptions): Promise<readonly AuditRecord[]>;
  /** Takes a second for some 100,000 records. */
  verifyAudit(
    request: { readonly kept: AuditHead | undefined },
    options?: AbortOptions,
  ): Promise<AuditVerdict>;
}

export interface ControlHealth {
  /** Why it cannot do its work; undefined where it can. */
  readonly trouble: string | undefined;
  /** Its clock, in epoch milliseconds, cut to whole seconds. */
  readonly time: number | undefined;
}

/** The first `limit` records behind `after`, or the last ones; `since` is in epoch seconds. */
export interface AuditQuery {
  readonly after?: number;
  readonly newest?: boolean;
  readonly limit: number;
  readonly since?: number;
}

export interface RevokeHow {
  /** Even where nobody is left who may administer the account. */
  readonly force?: boolean;
  /** What was made with a token that goes stays. */
  readonly keepMade?: boolean;
}

/** What the control plane answered instead of a result. */
export class ControlError extends OpenboxError {
  readonly status: number;
  /** For whoever looks into the control plane's log. */
  readonly requestId: string | undefined;
  constructor(
    code: Code,
    message: string,
    options: { status: number; requestId?: string; hint?: string },
  ) {
    super(code, message, options);
    this.status = options.status;
    this.requestId = options.requestId;
  }
}

const DEADLINE_MS = 10_000;
/** For a hundred million records. */
const VERIFY_MS = 15 * 60_000;
/** Some thousand nodes; an answer beyond it is no answer of a control plane. */
const MAX_ANSWER = 8 * 1024 * 1024;

/** Throws `insecure_http` or `bad_setting` at once; connects with the first call. */
export function createControlClient(options: ControlClientOptions): ControlClient {
  const { server } = options;
  requireSecure(server, options.insecureHttp ?? false);
  const client = Deno.createHttpClient({
    ...(options.tlsCa === undefined ? {} : { caCerts: [requirePem(options.tlsCa)] }),
    // Deno would show a token in clear to the proxy of HTTP_PROXY; of TLS a proxy sees nothing
    ...(server.plain
      ? { proxy: { transport: "tcp", hostname: server.hostname, port: server.port } as const }
      : {}),
  });

  const request = (method: string, path: string, body: unknown, signal: AbortSignal) =>
    fetch(server.href + path, {
      method,
      client,
      redirect: "manual",
      signal,
      headers: {
        ...(options.token && { authorization: `Bearer ${options.token.reveal()}` }),
        ...(body !== undefined && { "content-type": "application/json" }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  const unanswered = (ms: number) => unreachable(server, `no answer within ${ms / 1000} s`);
  const failure = (error: unknown, signal: AbortSignal): unknown => {
    if (signal.aborted) return abortReason(signal);
    if (error instanceof OpenboxError) return error;
    return unreachable(server, why(error), hintFor(why(error)));
  };

  async function call<T extends v.GenericSchema>(
    answer: T,
    method: string,
    path: string,
    body: unknown,
    { signal }: AbortOptions = {},
    ms = options.deadlineMs ?? DEADLINE_MS,
  ): Promise<v.InferOutput<T>> {
    await using _watch = options.watch?.();
    using limit = deadline(ms, () => unanswered(ms), { signal });
    let response: Response, bytes: Uint8Array;
    try {
      response = await request(method, path, body, limit.signal);
      bytes = await readLimited(response, server);
    } catch (error) {
      throw failure(error, limit.signal);
    }
    if (!response.ok) throw refusal(server, response, bytes);
    const parsed = v.safeParse(answer, bytes.length === 0 ? undefined : parseJson(bytes));
    if (parsed.success) return parsed.output;
    throw new OpenboxError(
      "upgrade_required",
      `${server.href} answered ${method} ${path} in a form that this openbox does not know`,
      { hint: "the address must be that of an openbox control plane of this version or newer" },
    );
  }

  const id = encodeURIComponent;
  /** With what is set of `query`. */
  const withQuery = (
    path: string,
    query: Readonly<Record<string, string | boolean | undefined>>,
  ) => {
    const set = Object.entries(query).filter(([, value]) => value !== undefined && value !== false);
    return set.length === 0
      ? path
      : `${path}?${set.map(([name, value]) => `${name}=${id(String(value))}`).join("&")}`;
  };
  const remove = (path: string, how: RevokeHow, options?: AbortOptions) =>
    call(
      v.undefined(),
      "DELETE",
      withQuery(path, { force: how.force, keep_made: how.keepMade }),
      undefined,
      options,
    );
  return {
    whoami: (options) => call(Whoami, "GET", "/v1/whoami", undefined, options),
    async nodes({ tag } = {}, options) {
      return (await call(NodeList, "GET", withQuery("/v1/nodes", { tag }), undefined, options))
        .nodes;
    },
    node: (node, options) => call(Node, "GET", `/v1/nodes/${id(node)}`, undefined, options),
    updateNode: (node, patch, options) =>
      call(Node, "PATCH", `/v1/nodes/${id(node)}`, patch, options),
    deleteNode: (node, options) =>
      call(v.undefined(), "DELETE", `/v1/nodes/${id(node)}`, undefined, options),
    async sessions(options) {
      return (await call(SessionList, "GET", "/v1/sessions", undefined, options)).sessions;
    },
    deleteSession: (name, { ended }, options) =>
      call(
        v.undefined(),
        "DELETE",
        withQuery(`/v1/sessions/${id(name)}`, { ended }),
        undefined,
        options,
      ),
    createEnrollToken: (request, options) =>
      call(EnrollToken, "POST", "/v1/enroll-tokens", request, options),
    async enrollTokens(options) {
      const list = await call(EnrollTokenList, "GET", "/v1/enroll-tokens", undefined, options);
      return list.enroll_tokens;
    },
    deleteEnrollToken: (token, options) => remove(`/v1/enroll-tokens/${id(token)}`, {}, options),
    async users(options) {
      return (await call(UserList, "GET", "/v1/users", undefined, options)).users;
    },
    createUser: (user, options) => call(User, "POST", "/v1/users", user, options),
    deleteUser: (user, how, options) => remove(`/v1/users/${id(user)}`, how, options),
    async tokens(filter = {}, options) {
      const path = withQuery("/v1/tokens", { ...filter });
      return (await call(TokenList, "GET", path, undefined, options)).tokens;
    },
    createToken: (token, options) => call(CreatedToken, "POST", "/v1/tokens", token, options),
    deleteToken: (token, how, options) => remove(`/v1/tokens/${id(token)}`, how, options),
    async rules(filter = {}, options) {
      const path = withQuery("/v1/rules", { ...filter });
      return (await call(RuleList, "GET", path, undefined, options)).rules;
    },
    createRule: (rule, options) => call(Rule, "POST", "/v1/rules", rule, options),
    deleteRule: (rule, how, options) => remove(`/v1/rules/${id(rule)}`, how, options),
    can: (question, options) => call(CanAnswer, "POST", "/v1/can", question, options),
    register: (request, options) =>
      call(RegisterAnswer, "POST", "/v1/nodes/register", request, options),
    giveBackRevocations: (request, options) =>
      call(HeldRevocationsAnswer, "POST", "/v1/nodes/revocations", request, options),
    revoke: (request, options) =>
      call(RevocationAnswer, "POST", "/v1/revocations", request, options),
    heartbeat: (request, options) =>
      call(HeartbeatAnswer, "POST", "/v1/nodes/heartbeat", request, options),
    reportRuns: (events, options) => call(v.undefined(), "POST", "/v1/nodes/runs", events, options),
    async health({ signal } = {}) {
      using limit = deadline(DEADLINE_MS, () => unanswered(DEADLINE_MS), { signal });
      let response: Response, bytes: Uint8Array;
      try {
        response = await request("GET", "/health", undefined, limit.signal);
        bytes = await readLimited(response, server);
      } catch (error) {
        throw failure(error, limit.signal);
      }
      const time = Date.parse(response.headers.get("date") ?? "");
      const body = parseJson(bytes), told = v.safeParse(ErrorBody, body);
      // a server of something else answers too
      if (!told.success && !v.is(Health, body)) throw refusal(server, response, bytes);
      return {
        trouble: told.success ? told.output.error : undefined,
        time: Number.isNaN(time) ? undefined : time,
      };
    },
    dispatch: (request, options) => call(DispatchAnswer, "POST", "/v1/dispatch", request, options),
    async backup({ passphrase, withoutCa }, { signal }) {
      const body = { passphrase: passphrase?.reveal(), without_ca: withoutCa };
      const response = await request("POST", "/v1/backup", body, signal)
        .catch((error) => Promise.reject(failure(error, signal)));
      if (!response.ok) throw refusal(server, response, await readLimited(response, server));
      return response.body!;
    },
    caStatus: (options) => call(CaStatus, "GET", "/v1/ca", undefined, options),
    rotateCa: (request, options) => call(CaStatus, "POST", "/v1/ca/rotate", request, options),
    sealCa: (passphrase, options) =>
      call(CaStatus, "POST", "/v1/ca/seal", { passphrase: passphrase.reveal() }, options),
    unsealCa: (passphrase, options) =>
      call(CaStatus, "POST", "/v1/ca/unseal", { passphrase: passphrase.reveal() }, options),
    async audit(query, options) {
      const given = Object.entries(query).filter(([, value]) => value !== undefined);
      const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
      return (await call(AuditPage, "GET", `/v1/audit?${search}`, undefined, options)).records;
    },
    verifyAudit: (request, options) =>
      call(AuditVerdict, "POST", "/v1/audit/verify", request, options, VERIFY_MS),
    [Symbol.asyncDispose]() {
      client.close();
      return Promise.resolve();
    },
  };
}

/** Deno takes any text as `caCerts` and trusts nothing more: an error later would name the wrong cause. */
function requirePem(tlsCa: string): string {
  if (/-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----/.test(tlsCa)) return tlsCa;
  throw new OpenboxError("bad_setting", "The file of --tls-ca holds no certificate", {
    hint: "it is the PEM text that begins with -----BEGIN CERTIFICATE-----",
  });
}

async function readLimited(response: Response, server: ServerUrl): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > MAX_ANSWER) {
      throw unreachable(server, `an answer of more than ${MAX_ANSWER} bytes`);
    }
    parts.push(part);
  }
  return concat(parts);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(text(bytes));
  } catch {
    return undefined;
  }
}

function refusal(server: ServerUrl, response: Response, bytes: Uint8Array): OpenboxError {
  const { status } = response;
  const location = response.headers.get("location");
  if (status >= 300 && status < 400) {
    // following it would carry the token to wherever it points
    return unreachable(
      server,
      `it redirects to ${location ?? "another address"}`,
      "give that address to openbox, if it is yours",
    );
  }
  const body = v.safeParse(ErrorBody, parseJson(bytes));
  if (!body.success) {
    return unreachable(
      server,
      `it answered ${status} and nothing that a control plane says`,
      "is this the address of an openbox control plane?",
    );
  }
  const { error, hint, request_id: requestId } = body.output;
  const code = body.output.code && isCode(body.output.code) ? body.output.code : codeOf(status);
  // a failure of the control plane itself says nothing of its inside; its log does, under this id
  const logged = code === "internal" || code === "database_unavailable";
  const message = logged && requestId ? `${error} (request ${requestId})` : error;
  return new ControlError(code, message, {
    status,
    requestId,
    hint: hint ?? (status === 401 ? "openbox login" : undefined),
  });
}

/** For a control plane that sends no code, or one that we do not know. */
function codeOf(status: number): Code {
  switch (status) {
    case 401:
      return "unauthorized";
    case 403:
      return "scope";
    case 404:
      return "not_found";
    case 409:
      return "conflict";
    case 410:
      return "node_deleted";
    case 413:
      return "body_too_large";
    case 426:
      return "upgrade_required";
    case 429:
      return "too_many";
    case 503:
      return "unavailable";
    default:
      return status >= 500 ? "internal" : "bad_request";
  }
}

function unreachable(server: ServerUrl, reason: string, hint?: string): OpenboxError {
  return new OpenboxError(
    "control_unreachable",
    `Cannot reach the control plane at ${server.href}: ${reason}`,
    { hint: hint ?? "is `openbox control` running there? OPENBOX_SERVER names another address" },
  );
}

/** The system's words out of `error sending request for url (…): client error (Connect): …: Connection refused (os error 111)`. */
function why(error: unknown): string {
  const { cause } = error as Error;
  const full = cause instanceof Error ? cause.message : (error as Error).message;
  return full.replace(/^error sending request .*?: client error \(\w+\): /, "")
    .replace(/^(tcp connect error|dns error): /, "")
    .replace(/ \(os error \d+\)$/, "");
}

function hintFor(reason: string): string | undefined {
  if (reason.includes("CaUsedAsEndEntity")) {
    return "the server's own certificate says CA:TRUE; make it with basicConstraints=CA:FALSE";
  }
  if (reason.includes("UnknownIssuer")) return "--tls-ca FILE trusts a certificate of your own";
  if (reason.includes("InvalidContentType") || reason.includes("corrupt message")) {
    return "it speaks plain HTTP there: http:// instead of https://";
  }
  if (reason.includes("invalid HTTP version")) {
    return "it speaks TLS there: https:// instead of http://";
  }
  return undefined;
}
