/** What a control plane is started with: flags over environment over default, read once and here. */
import { parseServerUrl, requireSecure } from "../client/server_url.ts";
import { OpenboxError } from "../errors.ts";
import { homePaths } from "../home/paths.ts";
import { type Host, isOn } from "../host.ts";
import { Secret } from "../secret.ts";
import {
  hasPassword,
  isPostgresDsn,
  parsePostgresDsn,
  type PostgresDsn,
} from "../store/postgres_dsn.ts";
import { LOOPBACK_NETWORKS, parseProxies } from "./forwarded.ts";
import { parseSyslogAddress, type SyslogAddress } from "./syslog.ts";
import { type ListenAddress, parseListenAddress } from "./listen_address.ts";

/** The flags of `openbox control`. */
export interface ControlFlags {
  readonly addr?: string;
  readonly url?: string;
  readonly db?: string;
  readonly ca?: string;
  readonly caPassphraseFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecureHttp?: boolean;
  readonly behindProxy?: string;
  readonly bootstrapTokenFile?: string;
  readonly printBootstrapToken?: boolean;
  readonly newToken?: string;
  readonly dispatchLimit?: string;
  readonly sourceLimit?: string;
  readonly auditSyslog?: string;
}

/** Where something lies: in the home, which is ours to make, or where the operator said. */
export type Place =
  | { readonly kind: "home"; readonly path: string }
  | { readonly kind: "given"; readonly path: string };

export interface ControlSettings {
  /** Its home; undefined where it has none. */
  readonly home: string | undefined;
  readonly listen: ListenAddress;
  /** What others use, without a slash at its end; undefined: as they got here. */
  readonly publicUrl: string | undefined;
  readonly database: Place | { readonly kind: "postgres"; readonly dsn: PostgresDsn };
  readonly ca: Place | { readonly kind: "text"; readonly pem: Secret } | {
    readonly kind: "database";
  };
  /** What the CA is sealed with; undefined: somebody unseals it later, or it is not sealed. */
  readonly caPassphrase:
    | { readonly kind: "file"; readonly path: string }
    | { readonly kind: "text"; readonly passphrase: Secret }
    | undefined;
  /** Signs revocation lists. `memory`: one of this process, where there is nothing to keep it in. */
  readonly operationsKey:
    | { readonly kind: "text"; readonly pem: Secret }
    | { readonly kind: "file"; readonly path: string }
    | { readonly kind: "memory" };
  /** Where the newest signed head of the audit is kept; undefined where nothing is kept here. */
  readonly auditHead: string | undefined;
  /** Where the audit goes besides. */
  readonly auditSyslog: SyslogAddress | undefined;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Plain HTTP to other machines: somebody said that this is wanted. */
  readonly insecureHttp: boolean;
  /** Networks, as `10.0.0.0/8`, of the proxies whose word on a request counts. */
  readonly behindProxy: readonly string[];
  readonly bootstrap:
    /** `file` keeps the token where there is no terminal and `print` was not asked for; undefined without a home. */
    | { readonly kind: "make"; readonly file: string | undefined; readonly print: boolean }
    | { readonly kind: "file"; readonly path: string }
    | { readonly kind: "text"; readonly token: Secret };
  /** Deno sends spans to a collector, as its OTEL_… variables say. */
  readonly tracing: boolean;
  /** Make a token for this user and end. */
  readonly newToken: string | undefined;
  /** Dispatches a second and user; twice as many at once. */
  readonly dispatchLimit: number;
  /** Requests a second and source address, of other machines; twice as many at once. */
  readonly sourceLimit: number;
}

const LISTEN = "127.0.0.1:8080";
/**
 * More than one process answers: it keeps one user from taking all of a shared control plane for
 * long, and is not felt by scripts that fan out. Smaller where users do not trust each other.
 */
const DISPATCH_LIMIT = 10_000;
/** Thousands of agents behind one router are below it, and a flood from one address is above it. */
const SOURCE_LIMIT = 1000;

/** Throws `bad_setting`, `not_supported` or `insecure_http`, before anything is opened or made. */
export function readControlSettings(flags: ControlFlags, host: Host): ControlSettings {
  const text = (flag: string | undefined, variable: string) => flag || host.env(variable);
  const path = (flag: string | undefined, variable: string) => {
    const given = text(flag, variable);
    return given === undefined ? undefined : absolute(given, host);
  };
  const on = (flag: boolean | undefined, variable: string) => flag ?? isOn(host.env(variable));

  const listen = readListen(flags.addr, host);
  const insecureHttp = on(flags.insecureHttp, "OPENBOX_INSECURE_HTTP");
  const tls = readTls(
    path(flags.tlsCert, "OPENBOX_TLS_CERT"),
    path(flags.tlsKey, "OPENBOX_TLS_KEY"),
  );
  const newToken = text(flags.newToken, "OPENBOX_NEW_TOKEN");
  const publicUrl = readPublicUrl(text(flags.url, "OPENBOX_PUBLIC_URL"), insecureHttp);
  const proxied = !tls && (publicUrl?.startsWith("https:") ?? false);
  const proxies = readProxies(flags.behindProxy, host);
  // what a proxy is asked by HTTPS it may pass on in the clear: where it stands is the operator's care
  const secure = tls || listen.loopback || insecureHttp || (proxied && proxies.length > 0);
  if (!newToken && !secure) throw insecureListen(listen);
  const database = readDatabase(flags.db, host);
  const ca = readCa(flags.ca, database, host), operationsKey = readOperationsKey(ca, host);
  return {
    home: isHomeless(host) ? undefined : homePaths(host).home,
    listen,
    publicUrl,
    database,
    ca,
    caPassphrase: readCaPassphrase(flags.caPassphraseFile, host),
    operationsKey,
    auditHead: operationsKey.kind === "file" ? homePaths(host).auditHead : undefined,
    auditSyslog: readSyslog(text(flags.auditSyslog, "OPENBOX_AUDIT_SYSLOG")),
    tls,
    insecureHttp,
    behindProxy: proxies.length === 0 && proxied && listen.loopback ? LOOPBACK_NETWORKS : proxies,
    bootstrap: readBootstrap(flags, host),
    tracing: isOn(host.env("OTEL_DENO")),
    newToken,
    dispatchLimit: readLimit(
      text(flags.dispatchLimit, "OPENBOX_DISPATCH_LIMIT"),
      { variable: "OPENBOX_DISPATCH_LIMIT", standard: DISPATCH_LIMIT, of: "dispatches a user" },
    ),
    sourceLimit: readLimit(
      text(flags.sourceLimit, "OPENBOX_SOURCE_LIMIT"),
      { variable: "OPENBOX_SOURCE_LIMIT", standard: SOURCE_LIMIT, of: "requests an address" },
    ),
  };
}

function readListen(flag: string | undefined, host: Host): ListenAddress {
  const port = host.env("PORT");
  if (flag) return parseListenAddress(flag, "--addr");
  const addr = host.env("OPENBOX_ADDR");
  if (addr) return parseListenAddress(addr, "OPENBOX_ADDR");
  // platforms that set PORT reach the program from outside
  return port ? parseListenAddress(`:${port}`, "PORT") : parseListenAddress(LISTEN, "the default");
}

function insecureListen(listen: ListenAddress): OpenboxError {
  const where = listen.hostname ?? "every address of this machine";
  return new OpenboxError(
    "insecure_http",
    `Plain HTTP on ${where}: tokens could be read on the way`,
    {
      hint:
        "serve HTTPS with --tls-cert and --tls-key, stay on 127.0.0.1 behind a proxy that does, " +
        "name a proxy elsewhere with --behind-proxy ADDR and --url https://…, " +
        "or say --insecure-http where the network itself is private",
    },
  );
}

function readProxies(flag: string | undefined, host: Host): readonly string[] {
  const variable = host.env("OPENBOX_BEHIND_PROXY");
  if (flag) return parseProxies(flag, "--behind-proxy");
  return variable ? parseProxies(variable, "OPENBOX_BEHIND_PROXY") : [];
}

function readPublicUrl(text: string | undefined, insecureHttp: boolean): string | undefined {
  if (text === undefined) return undefined;
  const url = parseServerUrl(text, "--url");
  requireSecure(url, insecureHttp);
  return url.href;
}

function readDatabase(flag: string | undefined, host: Host): ControlSettings["database"] {
  const text = flag || host.env("OPENBOX_DB");
  if (text === undefined) return { kind: "home", path: homePaths(host).database };
  if (isPostgresDsn(text)) {
    if (flag && hasPassword(flag)) throw passwordInArguments();
    return { kind: "postgres", dsn: parsePostgresDsn(text) };
  }
  // the address of a database server may hold its password: it is not repeated
  const [, scheme] = /^([a-z][a-z0-9+]*):\/\//i.exec(text) ?? [];
  if (scheme !== undefined) {
    throw new OpenboxError("not_supported", `A ${scheme} database is not supported`, {
      hint: "OPENBOX_DB names a SQLite file, or postgres://USER:PASSWORD@HOST/NAME",
    });
  }
  return { kind: "given", path: absolute(text, host) };
}

const passwordInArguments = () =>
  new OpenboxError(
    "bad_setting",
    "The database's password is on the command line, for all to see",
    {
      hint: "put the whole address into OPENBOX_DB instead, and change the password",
    },
  );

function readCa(
  flag: string | undefined,
  database: ControlSettings["database"],
  host: Host,
): ControlSettings["ca"] {
  const file = flag || host.env("OPENBOX_CA"), pem = host.takeEnv("OPENBOX_CA_KEY");
  if (!flag && file && pem) throw contradiction("OPENBOX_CA", "OPENBOX_CA_KEY");
  if (file === IN_DATABASE) return { kind: "database" };
  if (file) return { kind: "given", path: absolute(file, host) };
  if (pem) return { kind: "text", pem: new Secret(pem) };
  // of several control planes on one Postgres each would make keys of its own
  if (database.kind === "postgres") return { kind: "database" };
  return { kind: "home", path: homePaths(host).caKey };
}

/** In the place of a file: sealed, for a control plane that keeps nothing on its own disk. */
const IN_DATABASE = "database";

function readCaPassphrase(flag: string | undefined, host: Host): ControlSettings["caPassphrase"] {
  const file = flag || host.env("OPENBOX_CA_PASSPHRASE_FILE");
  const passphrase = host.takeEnv("OPENBOX_CA_PASSPHRASE");
  if (!flag && file && passphrase) {
    throw contradiction("OPENBOX_CA_PASSPHRASE_FILE", "OPENBOX_CA_PASSPHRASE");
  }
  if (file) return { kind: "file", path: absolute(file, host) };
  return passphrase ? { kind: "text", passphrase: new Secret(passphrase) } : undefined;
}

function readOperationsKey(
  ca: ControlSettings["ca"],
  host: Host,
): ControlSettings["operationsKey"] {
  const pem = host.takeEnv("OPENBOX_OPERATIONS_KEY");
  if (pem) return { kind: "text", pem: new Secret(pem) };
  // with its CA from the environment a control plane keeps nothing here, and can certify a new key at each start
  if (ca.kind === "text" || isHomeless(host)) return { kind: "memory" };
  return { kind: "file", path: homePaths(host).operationsKey };
}

const readSyslog = (text: string | undefined): SyslogAddress | undefined =>
  text === undefined ? undefined : parseSyslogAddress(text, "--audit-syslog");

function readTls(
  cert: string | undefined,
  key: string | undefined,
): ControlSettings["tls"] {
  if (cert && key) return { cert, key };
  if (!cert && !key) return undefined;
  throw new OpenboxError("bad_setting", "TLS needs a certificate and its key; one is missing", {
    hint: "--tls-cert FILE --tls-key FILE",
  });
}

function readBootstrap(flags: ControlFlags, host: Host): ControlSettings["bootstrap"] {
  const file = flags.bootstrapTokenFile || host.env("OPENBOX_BOOTSTRAP_TOKEN_FILE");
  const token = host.env("OPENBOX_BOOTSTRAP_TOKEN");
  if (!flags.bootstrapTokenFile && file && token) {
    throw contradiction("OPENBOX_BOOTSTRAP_TOKEN_FILE", "OPENBOX_BOOTSTRAP_TOKEN");
  }
  if (file) return { kind: "file", path: absolute(file, host) };
  if (token) return { kind: "text", token: new Secret(token) };
  return {
    kind: "make",
    file: isHomeless(host) ? undefined : homePaths(host).bootstrapToken,
    print: flags.printBootstrapToken ?? isOn(host.env("OPENBOX_PRINT_BOOTSTRAP_TOKEN")),
  };
}

const isHomeless = (host: Host): boolean => !host.env("OPENBOX_HOME") && !host.env("HOME");

function readLimit(
  text: string | undefined,
  { variable, standard, of }: {
    readonly variable: string;
    readonly standard: number;
    readonly of: string;
  },
): number {
  if (text === undefined) return standard;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new OpenboxError("bad_setting", `${variable} ${JSON.stringify(text)}`, {
    hint: `how many ${of} may have a second, such as 60`,
  });
}

const contradiction = (a: string, b: string) =>
  new OpenboxError("bad_setting", `Both ${a} and ${b} are set`, { hint: `unset ${a} or ${b}` });

const absolute = (path: string, host: Host): string =>
  path.startsWith("/") ? path : `${host.cwd()}/${path}`;
