/**
 * The description of the HTTP interface, made of what the routes declare. Loaded with the first call of
 * GET /openapi.json: nobody else pays for it.
 */
import { toJsonSchema } from "@valibot/to-json-schema";
import { type GenericSchema, safeParse } from "valibot";
import { ErrorBody } from "../api/error.ts";
import { type Code, httpStatus } from "../errors.ts";
import { VERSION } from "../version.ts";
import type { AuthRule, Declared, Route } from "./route.ts";

/** What any request can meet, whichever route it names. */
const EVERYWHERE: readonly Code[] = [
  ...["bad_request", "header_too_large", "wrong_host", "insecure_http", "cross_site"] as const,
  ...["too_many", "database_unavailable"] as const,
];
const WITH_BODY: readonly Code[] = [
  ...["body_too_large", "invalid_name", "bad_public_key", "upgrade_required"] as const,
];
const BY_RULE: Readonly<Record<AuthRule, readonly Code[]>> = {
  public: [],
  enroll_token: ["audit_unavailable"],
  user: ["audit_unavailable", "unauthorized", "scope", "not_allowed"],
  node: ["audit_unavailable", "unauthorized", "scope", "upgrade_required", "node_deleted"],
};

/** The codes of a route's errors. */
export function refusalsOf(route: Declared & Pick<Route, "auth">): ReadonlySet<Code> {
  return new Set([
    ...EVERYWHERE,
    ...BY_RULE[route.auth],
    ...(route.body ? WITH_BODY : []),
    ...(route.refuses ?? []),
  ]);
}

/** OpenAPI 3.1. */
export function describeApi(routes: readonly Route[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, "{$1}");
    (paths[path] ??= {})[route.method.toLowerCase()] = describe(route);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "openbox control plane",
      version: VERSION,
      description: "Errors are flat; `code` is stable. Times are epoch seconds.",
    },
    paths,
    components: {
      schemas: { Error: schemaOf(ErrorBody, "output") },
      securitySchemes: {
        user: { type: "http", scheme: "bearer", description: "a user token, obx_…" },
        node: { type: "http", scheme: "bearer", description: "a node token, obn_…" },
      },
    },
  };
}

function describe(route: Route): object {
  const parameters = [
    ...[...route.path.matchAll(/:(\w+)/g)].map(([, name]) => parameter("path", name!)),
    ...Object.entries(route.query ?? {}).map(([name, text]) => parameter("query", name, text)),
  ];
  return {
    operationId: operationId(route),
    summary: route.summary,
    ...(parameters.length > 0 && { parameters }),
    ...(route.body && {
      requestBody: {
        required: !safeParse(route.body, {}).success, // an empty body is an empty object
        content: json(schemaOf(route.body, "input")),
      },
    }),
    responses: { ...answers(route), ...refusals(route) },
    ...((route.auth === "user" || route.auth === "node") && { security: [{ [route.auth]: [] }] }),
  };
}

function parameter(place: "path" | "query", name: string, description?: string): object {
  const inPath = place === "path";
  const schema = { type: "string", ...(inPath && { minLength: 1 }) };
  return { name, in: place, required: inPath, description, schema };
}

/** `POST /v1/enroll-tokens`: `post_v1_enroll_tokens`. */
const operationId = ({ method, path }: Declared): string =>
  `${method.toLowerCase()}${path === "/" ? "_root" : path.replace(/[^a-z0-9]+/gi, "_")}`;

function answers(route: Route): Record<string, object> {
  return Object.fromEntries(
    Object.entries(route.answers).map(([status, body]) => {
      if (body === null) return [status, { description: "done" }];
      const content = typeof body === "string"
        ? { [body]: { schema: { type: "string" } } }
        : json(schemaOf(body, "output"));
      return [status, { description: "done", content }];
    }),
  );
}

function refusals(route: Route): Record<string, object> {
  const byStatus = Map.groupBy(refusalsOf(route), httpStatus);
  return Object.fromEntries(
    [...byStatus, [TOO_SLOW, ["bad_request"]] as const].map(([status, codes]) => [
      String(status),
      {
        description: codes.toSorted().join(", "),
        content: json({ $ref: "#/components/schemas/Error" }),
        ...(status === 429 && {
          headers: { "Retry-After": { description: "seconds", schema: { type: "string" } } },
        }),
      },
    ]),
  );
}

/** A request that did not arrive in time (http_server.ts). */
const TOO_SLOW = 408;

const json = (schema: object): object => ({ "application/json": { schema } });

/** What JSON Schema has no word for (our own checks, trimming) is left out: then it promises less than we hold. */
function schemaOf(schema: GenericSchema, typeMode: "input" | "output"): object {
  const { $schema: _, ...described } = toJsonSchema(schema as Parameters<typeof toJsonSchema>[0], {
    typeMode,
    target: "draft-2020-12",
    errorMode: "ignore",
  });
  return described;
}
