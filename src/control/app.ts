/** The HTTP interface: routes by hono, one way in for requests and one way out for errors. */
import { type Context, Hono } from "@hono/hono";
import type { HttpBindings } from "@hono/node-server";
import type { ErrorBody } from "../api/error.ts";
import { type Code, httpStatus, OpenboxError, toOpenboxError } from "../errors.ts";
import { newRequestId } from "../ids.ts";
import { log } from "../log.ts";
import { sourceOf } from "../ssh/admission.ts";
import { isLoopback } from "../transport/address.ts";
import { type Arrival, readArrival } from "./forwarded.ts";
import { isAllowedHost, isFromForeignPage } from "./host_policy.ts";
import { TooMany } from "./rate_limit.ts";
import { readJsonBody } from "./request_body.ts";
import { asOneCall } from "../store/call_deadline.ts";
import type { Caller, ContentType, Control, ControlRequest, Route } from "./route.ts";
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
    app.on(route.method, route.path, (c) =>
      answered(c, route, control, async (arrival) => {
        requireAllowedHosts(arrival, control, route);
        requireSecureWay(arrival, control, route);
        requireOwnPage(c, arrival, control);
        const { status, body } = await asOneCall(() =>
          route.answer(controlRequest(c, arrival), control)
        );
        const declared = route.answers[status];
        const type = typeof declared === "string" ? declared : undefined;
        return respond(c, arrival, { status, body, type });
      }));
  }
  app.notFound((c) =>
    answered(c, undefined, control, (arrival) => {
      requireAllowedHosts(arrival, control);
      const fitting = routes.filter((route) => isPath(route.path, c.req.path));
      const exact = fitting.filter(({ path }) => path === c.req.path);
      const elsewhere = exact.length > 0 ? exact : fitting;
      if (elsewhere.length === 0) {
        throw new OpenboxError("not_found", `no such call: ${c.req.path.slice(0, 200)}`);
      }
      throw new WrongMethod(
        `${c.req.path} does not take ${c.req.method}`,
        elsewhere.map(({ method }) => method),
      );
    })
  );
  return app;
}

class WrongMethod extends OpenboxError {
  readonly allowed: readonly string[];
  constructor(message: string, allowed: readonly string[]) {
    super("method_not_allowed", message);
    this.allowed = allowed;
  }
}

/** The one way of a request: refused where it comes too often, answered or refused, and counted. */
async function answered(
  c: ControlContext,
  route: Route | undefined,
  control: Control,
  work: (arrival: Arrival) => Response | Promise<Response>,
): Promise<Response> {
  const start = performance.now();
  const arrival = readArrival(c.env.incoming, c.req.url, control);
  if (route) c.set("route", `${route.method} ${route.path}`);
  let response: Response;
  try {
    requireCalm(arrival, control);
    requireOneHost(c);
    const request = { method: c.req.method, route: route?.path };
    response = await control.observer.traced(c.env.outgoing, request, () => work(arrival));
  } catch (error) {
    const failure = counted(error, arrival, control);
    recordDenial(failure, c, arrival, control);
    response = respondError(c, arrival, failure, control);
  }
  control.observer.answered({ method: c.req.method, route: route?.path ?? "none" }, {
    status: response.status,
    seconds: (performance.now() - start) / 1000,
  });
  return response;
}

/** Before anything is looked up. This machine has other ways to be slowed down, and all of its users one address. */
function requireCalm({ source }: Arrival, { requests }: Control): void {
  const wait = isLoopback(source) ? 0 : requests.take(sourceOf(source));
  if (wait > 0) throw new TooMany("Too many calls at once from this address", wait);
}

function controlRequest(c: ControlContext, { origin, source }: Arrival): ControlRequest {
  return {
    origin,
    source,
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

/** Of two headers, readers on the way may have taken either: joined they are no token. */
function authorization(rawHeaders: readonly string[]): string | undefined {
  const values = valuesOf("authorization", rawHeaders);
  return values.length > 0 ? values.join(", ") : undefined;
}

function requireOneHost(c: ControlContext): void {
  if (valuesOf("host", c.env.incoming.rawHeaders).length < 2) return;
  throw new OpenboxError("bad_request", "The request has more than one Host header");
}

const valuesOf = (name: string, rawHeaders: readonly string[]): string[] =>
  rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]!.toLowerCase() === name);

/** What every answer says: nobody keeps it, nobody guesses its type. */
const HEADERS = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

/** A year: a browser that was here over HTTPS does not come back without it. */
const HSTS = "max-age=31536000";

function respond(
  c: ControlContext,
  { origin }: Arrival,
  { status, body, type }: {
    readonly status: number;
    readonly body: unknown;
    /** Of a text; else the body is written as JSON. */
    readonly type?: ContentType;
  },
  more: Readonly<Record<string, string>> = {},
): Response {
  const headers: Record<string, string> = { ...HEADERS, ...more };
  if (unreadBody(c)) headers["connection"] = "close";
  if (origin.startsWith("https:")) headers["strict-transport-security"] = HSTS;
  if (body === undefined) return new Response(null, { status, headers });
  headers["content-type"] = type ?? "application/json";
  if (body instanceof ReadableStream) return new Response(body, { status, headers });
  return new Response(type ? String(body) : JSON.stringify(body), { status, headers });
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
function counted(error: unknown, { source }: Arrival, { refusals }: Control): OpenboxError {
  const failure = toOpenboxError(error);
  if (!GUESSES.has(failure.code)) return failure;
  const wait = refusals.take(sourceOf(source));
  return wait === 0 ? failure : new TooMany("Too many refused calls from this address", wait);
}

/** What somebody may not do, and who he is not: told in the audit. */
function recordDenial(
  { code, message }: OpenboxError,
  c: ControlContext,
  { source }: Arrival,
  { denials }: Control,
): void {
  if (![401, 403, 429].includes(httpStatus(code))) return;
  const call = c.get("route") ?? "unknown";
  denials.note({
    source: sourceOf(source),
    requestId: requestId(c),
    call,
    code,
    ...((code === "scope" || code === "not_allowed") && { why: message }),
    caller: c.get("caller"),
  });
}

function respondError(
  c: ControlContext,
  arrival: Arrival,
  error: OpenboxError,
  { observer }: Control,
): Response {
  const id = requestId(c), status = httpStatus(error.code);
  observer.refused(error.code);
  if (OURS.has(error.code)) logFailure(c, error, id);
  const body: ErrorBody = {
    error: error.code === "internal"
      ? "The control plane failed; its log says why, under the request id"
      : error.message,
    code: error.code,
    ...(error.hint !== undefined && { hint: error.hint }),
    request_id: id,
  };
  return respond(c, arrival, { status, body }, {
    ...(error instanceof WrongMethod && { allow: error.allowed.join(", ") }),
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

function requireAllowedHosts(
  { hostnames }: Arrival,
  { publicUrl }: Control,
  route?: Route,
): void {
  const foreign = hostnames.find((name) => !isAllowedHost(name, publicUrl));
  if (foreign === undefined || route?.anyHost) return;
  throw new OpenboxError("wrong_host", `This control plane is not ${JSON.stringify(foreign)}`, {
    hint:
      "openbox control --url URL names the host by which others reach it; an IP address works always",
  });
}

function requireSecureWay({ source, viaProxy }: Arrival, control: Control, route: Route): void {
  if (!control.proxiesOnly || viaProxy || isLoopback(source) || route.anyHost) return;
  throw new OpenboxError(
    "insecure_http",
    `Plain HTTP is taken here from the proxy in front alone, and ${source} is none`,
    { hint: `use ${control.publicUrl}; openbox control --behind-proxy ADDR names the proxies` },
  );
}

/** No token of ours travels by itself, as a cookie would; a page that has one all the same got it from elsewhere. */
function requireOwnPage(c: ControlContext, { origin }: Arrival, { publicUrl }: Control): void {
  const { headers } = c.env.incoming;
  if (headers.authorization === undefined && headers.cookie === undefined) return;
  const ours = publicUrl === undefined ? [origin] : [origin, new URL(publicUrl).origin];
  if (!isFromForeignPage(headers, ours)) return;
  throw new OpenboxError(
    "cross_site",
    "A page of another site made this call; browsers may call this control plane from its own pages alone",
  );
}

/** `pattern` as in a route: `:id` stands for one segment. */
function isPath(pattern: string, path: string): boolean {
  const wanted = pattern.split("/"), given = path.split("/");
  return wanted.length === given.length &&
    wanted.every((part, i) => part.startsWith(":") ? given[i] !== "" : part === given[i]);
}
