/**
 * The address of a Postgres database, as its hoster prints it: parsed once, strictly. It holds a password,
 * so no message repeats any of it save the names of parameters.
 *
 * Stricter than libpq where that would let a stranger on the way read along: `require` checks the
 * certificate as `verify-full` does, and that is the default for every host but this machine.
 */
import { OpenboxError } from "../errors.ts";
import { Secret } from "../secret.ts";

export interface PostgresDsn {
  /** In the order in which they are tried; the one that takes writes is used. */
  readonly hosts: readonly PostgresHost[];
  readonly user: string;
  readonly password: Secret;
  readonly database: string;
  readonly tls: PostgresTls;
  readonly applicationName: string;
  /** Of the start-up message; hosters choose the database by it. */
  readonly options: string | undefined;
  readonly connectTimeoutMs: number;
}

export interface PostgresHost {
  readonly hostname: string;
  readonly port: number;
}

export type PostgresTls =
  | { readonly kind: "off" }
  /** Where the server offers it; whoever is on the way can take it away. */
  | { readonly kind: "offered" }
  | {
    readonly kind: "verified";
    /** False: only that the certificate's issuer is known. */
    readonly hostname: boolean;
    /** A PEM file of issuers; undefined: those that everybody knows. */
    readonly rootCert: string | undefined;
  };

const PORT = 5432;
/** Below the deadline of a call, so that one that waits for it can still be told why. */
const CONNECT_MS = 2000, MOST_CONNECT_SECONDS = 60;

export const isPostgresDsn = (text: string): boolean => /^postgres(ql)?:\/\//i.test(text);

/** Whether it holds a password, which then must not be on a command line; also of one that is malformed. */
export const hasPassword = (text: string): boolean => /^[^:]*:\/\/[^@]*:[^@]*@/.test(text);

/** Without the password, for people: `postgres://openbox@db.example.com:5432/openbox`. */
export const describeDsn = ({ hosts, user, database }: PostgresDsn): string =>
  `postgres://${encodeURIComponent(user)}@${
    hosts.map(({ hostname, port }) =>
      `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`
    )
      .join()
  }/${encodeURIComponent(database)}`;

/** Throws `bad_setting`. */
export function parsePostgresDsn(text: string): PostgresDsn {
  const [, authority, path, query] =
    /^postgres(?:ql)?:\/\/([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/is.exec(text) ?? [];
  if (authority === undefined) throw bad("is not of the form postgres://USER:PASSWORD@HOST/NAME");
  // then what follows is no path and no parameter, and must not be shown as one
  if (`${path}${query}`.includes("@")) throw bad("has a / or ? in its user or password", ENCODE);
  const at = authority.lastIndexOf("@"),
    [user, ...rest] = authority.slice(0, Math.max(at, 0)).split(":");
  if (!user) throw bad("names no user");
  const hosts = authority.slice(at + 1).split(",").map(parseHost);
  const parameters = parseParameters(query ?? "");
  const tls = parseTls(parameters, hosts);
  checkChannelBinding(parameters.get("channel_binding"), tls);
  checkTarget(parameters.get("target_session_attrs"));
  return {
    hosts,
    user: decode(user),
    password: new Secret(decode(rest.join(":"))),
    database: decode(path || user),
    tls,
    applicationName: parameters.get("application_name") || "openbox",
    options: parameters.get("options") || undefined,
    connectTimeoutMs: parseTimeout(parameters.get("connect_timeout")),
  };
}

function parseHost(text: string): PostgresHost {
  const [, bracketed, plain, port] =
    /^(?:\[([0-9a-f:.%]+)\]|([^:[\]]*))(?::(\d{1,5}))?$/i.exec(text) ?? [];
  const hostname = decode(bracketed ?? plain ?? "");
  if (hostname.startsWith("/")) throw bad("names a socket; only TCP is supported", "use 127.0.0.1");
  if (!/^[\w.:%-]+$/.test(hostname)) throw bad("names no host, or has a bad port", ENCODE);
  if (Number(port ?? PORT) > 65_535 || Number(port ?? PORT) < 1) throw bad("has a bad port");
  return { hostname, port: Number(port ?? PORT) };
}

const PARAMETERS = [
  "application_name",
  "channel_binding",
  "connect_timeout",
  "options",
  "sslmode",
  "sslrootcert",
  "target_session_attrs",
];

function parseParameters(query: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const part of query === "" ? [] : query.split("&")) {
    const [key = "", ...value] = part.split("=");
    const name = decode(key);
    if (!PARAMETERS.includes(name)) {
      const shown = JSON.stringify(name.slice(0, 60));
      throw bad(
        `has the parameter ${shown}, which openbox does not know`,
        `leave it out; known are ${PARAMETERS.join(", ")}`,
      );
    }
    if (parameters.has(name)) throw bad(`has the parameter "${name}" twice`);
    parameters.set(name, decode(value.join("=")));
  }
  return parameters;
}

const MODES = "disable, prefer, require, verify-ca, verify-full";

function parseTls(
  parameters: ReadonlyMap<string, string>,
  hosts: readonly PostgresHost[],
): PostgresTls {
  const mode = parameters.get("sslmode"), root = parameters.get("sslrootcert");
  const verified = (hostname: boolean): PostgresTls => ({
    kind: "verified",
    hostname,
    rootCert: root === "system" ? undefined : root || undefined,
  });
  switch (mode) {
    case undefined:
      return root || !hosts.every(isLoopback) ? verified(true) : { kind: "offered" };
    case "disable":
    case "prefer":
      if (root) throw bad(`has an sslrootcert, which sslmode=${mode} would not look at`);
      return { kind: mode === "disable" ? "off" : "offered" };
    case "verify-ca":
      // of issuers that everybody knows, anybody gets a certificate of some name
      if (!root || root === "system") {
        throw bad("has sslmode=verify-ca without an sslrootcert", "name one, or use verify-full");
      }
      return verified(false);
    case "require":
    case "verify-full":
      return verified(true);
    default:
      throw bad("has an unknown sslmode", `one of ${MODES}`);
  }
}

const isLoopback = ({ hostname }: PostgresHost): boolean =>
  hostname === "localhost" || hostname === "::1" || /^127\.\d+\.\d+\.\d+$/.test(hostname);

/**
 * The driver cannot bind a log-in to its TLS channel. What `require` is there for, that nobody stands in
 * between, a verified certificate gives as well; so it is asked for instead.
 */
function checkChannelBinding(value: string | undefined, tls: PostgresTls): void {
  if (value === undefined || value === "disable" || value === "prefer") return;
  if (value !== "require") {
    throw bad("has an unknown channel_binding", "disable, prefer or require");
  }
  if (tls.kind === "verified" && tls.hostname) return;
  throw bad(
    "has channel_binding=require without a verified certificate",
    "add sslmode=verify-full",
  );
}

/** The control plane writes: a server that does not let it is never used, whether the address says so or not. */
function checkTarget(value: string | undefined): void {
  if (value === undefined || value === "read-write" || value === "primary") return;
  throw bad(
    "has a target_session_attrs that may pick a server without writes",
    "leave it out, or use read-write",
  );
}

function parseTimeout(text: string | undefined): number {
  if (text === undefined) return CONNECT_MS;
  const seconds = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (seconds >= 1 && seconds <= MOST_CONNECT_SECONDS) return seconds * 1000;
  throw bad("has a bad connect_timeout", `seconds, 1 to ${MOST_CONNECT_SECONDS}`);
}

function decode(text: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw bad("has a % that does not begin an encoded character", ENCODE);
  }
  // in the start-up message a zero byte ends a value, and another setting would begin
  if (/\p{Cc}/u.test(decoded)) throw bad("has a control character");
  return decoded;
}

const ENCODE = "in user and password write @ as %40, : as %3A, / as %2F, ? as %3F and % as %25";

const bad = (why: string, hint?: string) =>
  new OpenboxError("bad_setting", `The address of the Postgres database ${why}`, { hint });
