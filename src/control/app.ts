/** The HTTP interface: routes by hono, one way in for requests and one way out for errors. */
import { type Context, Hono } from "@hono/hono";
import type { HttpBindings } from "@hono/node-server";
import type { ErrorBody } from "../api/error.ts";
import { type Code, httpStatus, OpenboxError, toOpenboxError } from "../errors.ts";
import { newRequestId } from "../ids.ts";
import { log } from "../log.ts";
import { sourceOf } from "../ssh/admission.ts";
import { isAllowedHost, splitOrigin } from "./host_policy.ts";
import { TooMany } from "./rate_limit.ts";
import { readJsonBody } from "./request_body.ts";
import type { Caller, Control, ControlRequest, Route } from "./route.ts";
import { ROUTES } from "./routes/table.ts";

interface Env {
  Bindings: HttpBindings;
  Variables: { requestId?: string; route?: string; caller?: Caller };
}
type ControlContext = Context<Env>;

export type App = Hono<Env>;

export function createApp(control: Control, routes: readonly Route[] = ROUTES): App {
  const app = new Hono<Env>();
  for (const route of routes) {
    app.on(route.method, route.path, async (c) => {
      const { origin, hostname } = splitOrigin(c.req.url);
      requireAllowedHost(hostname, control);
      c.set("route", `${route.method} ${route.path}`);
      return respond(c, await route.answer(controlRequest(c, origin), control));
    });
  }
  app.notFound((c) => {
    requireAllowedHost(splitOrigin(c.req.url).hostname, control);
    const elsewhere = routes.filter((route) => isPath(route.path, c.req.path));
    if (elsewhere.length === 0) {
      throw new OpenboxError("not_found", `no such call: ${c.req.path.slice(0, 200)}`);
    }
    const error = new OpenboxError(
      "method_not_allowed",
      `${c.req.path} does not take ${c.req.method}`,
    );
    return respondError(c, error, { allow: elsewhere.map(({ method }) => method).join(", ") });
  });
  app.onError((error, c) => {
    const failure = counted(error, c, control);
    recordDenial(failure, c, control);
    return respondError(c, failure);
  });
  return app;
}

function controlRequest(c: ControlContext, origin: string): ControlRequest {
  return {
    origin,
    source: sourceAddress(c),
    id: requestId(c),
    identified: (caller) => c.set("caller", caller),
    param: (name) => c.req.param(name) ?? "",
    query: (name) => c.req.query(name) || undefined,
    authorization: authorization(c.env.incoming.rawHeaders),
    readBody: (maxBytes) => readJsonBody(c.env.incoming, maxBytes),
  };
}

const requestId = (c: ControlContext): string => {
  const id = c.get("requestId") ?? newRequestId();
  c.set("requestId", id);
  return id;
};

/** What a proxy says in a header is not believed. */
const sourceAddress = (c: ControlContext): string => c.env.incoming.socket.remoteAddress ?? "";

/** Of two headers, readers on the way may have taken either: joined they are no token. */
function authorization(rawHeaders: readonly string[]): string | undefined {
  const values = rawHeaders.filter((_, i) =>
    i % 2 === 1 && rawHeaders[i - 1]!.toLowerCase() === "authorization"
  );
  return values.length > 0 ? values.join(", ") : undefined;
}

/** What every answer says: nobody keeps it, nobody guesses its type. */
const HEADERS = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

function respond(
  c: ControlContext,
  { status, body }: { readonly status: number; readonly body?: unknown },
  more: Readonly<Record<string, string>> = {},
): Response {
  const headers: Record<string, string> = { ...HEADERS, ...more };
  if (unreadBody(c)) headers["connection"] = "close";
  if (body === undefined) return new Response(null, { status, headers });
  const isText = typeof body === "string";
  headers["content-type"] = isText ? "text/plain; charset=utf-8" : "application/json";
  return new Response(isText ? body : JSON.stringify(body), { status, headers });
}

/** With the rest of a body still to come the connection ends, or its bytes would be taken for the next request. */
const unreadBody = (c: ControlContext): boolean => {
  const { headers, readableEnded } = c.env.incoming;
  return !readableEnded &&
    (headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0);
};

/** Guesses at secrets: an address that made too many of them is told to wait. */
const GUESSES: ReadonlySet<Code> = new Set(["unauthorized", "enroll_token_invalid", "key_proof"]);

/**
 * Only what failed is counted and slowed down. Our secrets are too long to be found by trying, so a
 * good one passes always, and nobody locks out the others behind the same address.
 */
function counted(error: unknown, c: ControlContext, { refusals }: Control): OpenboxError {
  const failure = toOpenboxError(error);
  if (!GUESSES.has(failure.code)) return failure;
  const wait = refusals.take(sourceOf(sourceAddress(c)));
  return wait === 0 ? failure : new TooMany("Too many refused calls from this address", wait);
}

/** What somebody may not do, and who he is not: told in the audit. */
function recordDenial(
  { code, message }: OpenboxError,
  c: ControlContext,
  { denials }: Control,
): void {
  if (![401, 403, 429].includes(httpStatus(code))) return;
  const call = c.get("route") ?? "unknown";
  denials.note({
    source: sourceOf(sourceAddress(c)),
    requestId: requestId(c),
    call,
    code,
    ...((code === "scope" || code === "not_allowed") && { why: message }),
    caller: c.get("caller"),
  });
}

function respondError(
  c: ControlContext,
  error: OpenboxError,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const id = requestId(c), status = httpStatus(error.code);
  if (OURS.has(error.code)) logFailure(c, error, id);
  const body: ErrorBody = {
    error: error.code === "internal"
      ? "The control plane failed; its log says why, under the request id"
      : error.message,
    code: error.code,
    ...(error.hint !== undefined && { hint: error.hint }),
    request_id: id,
  };
  return respond(c, { status, body }, {
    ...headers,
    ...(status === 401 && { "www-authenticate": "Bearer" }),
    ...(error instanceof TooMany && { "retry-after": String(error.retryAfterSeconds) }),
  });
}

/** The control plane's own failures: its log has what the caller is not told. */
const OURS: ReadonlySet<Code> = new Set(["internal", "database_unavailable", "audit_unavailable"]);

function logFailure(c: ControlContext, error: OpenboxError, request: string): void {
  const cause = error.cause instanceof Error ? error.cause : error;
  log("control").error("call failed", {
    request,
    call: `${c.req.method} ${c.req.path}`,
    code: error.code,
    error: cause,
    stack: cause.stack,
  });
}

function requireAllowedHost(hostname: string, { publicUrl }: Control): void {
  if (isAllowedHost(hostname, publicUrl)) return;
  throw new OpenboxError("wrong_host", `This control plane is not ${JSON.stringify(hostname)}`, {
    hint:
      "openbox control --url URL names the host by which others reach it; an IP address works always",
  });
}

/** `pattern` as in a route: `:id` stands for one segment. */
function isPath(pattern: string, path: string): boolean {
  const wanted = pattern.split("/"), given = path.split("/");
  return wanted.length === given.length &&
    wanted.every((part, i) => part.startsWith(":") ? given[i] !== "" : part === given[i]);
}
