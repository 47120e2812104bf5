/** Who is calling, and which control plane they trust: from the environment, else from `config.json`. */
import { type Config, readConfig } from "../home/config.ts";
import { homePaths } from "../home/paths.ts";
import { readTextFile } from "../home/text_file.ts";
import { createControlClient } from "../client/control_client.ts";
import { isInsecure, parseServerUrl, type ServerUrl } from "../client/server_url.ts";
import { OpenboxError } from "../errors.ts";
import { type Host, isOn } from "../host.ts";
import { Secret } from "../secret.ts";
import { printWarning } from "./output.ts";
import { showWaiting } from "./progress.ts";

/** How a control plane is reached, whoever asks. */
export interface Access {
  readonly server: ServerUrl;
  readonly insecureHttp: boolean;
  readonly tlsCa: string | undefined;
}

export interface Login extends Access {
  readonly token: Secret;
  /** Epoch seconds, where the login says it. */
  readonly tokenEndsAt: number | undefined;
  /** `OPENBOX_CA_FINGERPRINT`, which stands above what was pinned at the login. */
  readonly caFingerprint: string | undefined;
  /** What `openbox login` kept; undefined where the environment says everything. */
  readonly stored: Config | undefined;
}

const WARN_BEFORE_SECONDS = 14 * 24 * 3600;

/**
 * With OPENBOX_SERVER and OPENBOX_TOKEN nothing is read from the home, which may be absent. Throws
 * `not_logged_in` where something is missing. Warns of what the person should know at each call.
 */
export async function readLogin(host: Host): Promise<Login> {
  const login = await findLogin(host);
  for (const warning of loginWarnings(login, host.clock.now())) await printWarning(warning, host);
  return login;
}

/** What the person should know of it at each call. `now` in epoch milliseconds. */
export const loginWarnings = (login: Login, now: number): string[] =>
  [insecureWarning(login), expiryWarning(login.tokenEndsAt, now)].filter((text) =>
    text !== undefined
  );

/** As `readLogin`, without a word. */
export async function findLogin(host: Host): Promise<Login> {
  const serverText = host.env("OPENBOX_SERVER"), tokenText = host.env("OPENBOX_TOKEN");
  const caFingerprint = host.env("OPENBOX_CA_FINGERPRINT");
  const named = serverText ? parseServerUrl(serverText, "OPENBOX_SERVER") : undefined;
  if (named && tokenText) {
    return {
      ...await readAccess(named, {}, host),
      token: parseToken(tokenText, "OPENBOX_TOKEN"),
      tokenEndsAt: undefined,
      caFingerprint,
      stored: undefined,
    };
  }
  const stored = await readConfig(homePaths(host).config);
  if (!stored) {
    throw new OpenboxError("not_logged_in", "Not logged in to a control plane", {
      hint: "openbox login --server URL, or OPENBOX_SERVER and OPENBOX_TOKEN",
    });
  }
  const server = parseServerUrl(stored.server, "the server in config.json");
  if (named && named.href !== server.href) {
    // the stored token is for that server alone: another one would learn it
    throw new OpenboxError(
      "not_logged_in",
      `OPENBOX_SERVER is ${named.href}, but the login is for ${server.href}`,
      { hint: `set OPENBOX_TOKEN too, or openbox login --server ${named.href}` },
    );
  }
  return {
    ...await readAccess(server, stored, host),
    ...(tokenText
      ? { token: parseToken(tokenText, "OPENBOX_TOKEN"), tokenEndsAt: undefined }
      : { token: new Secret(stored.token), tokenEndsAt: stored.token_expires_at }),
    caFingerprint,
    stored,
  };
}

/** Settings of the connection: a flag's over the environment's over the kept one's. */
export async function readAccess(
  server: ServerUrl,
  kept: { readonly insecure_http?: boolean; readonly tls_ca?: string },
  host: Host,
  flags: { readonly insecureHttp?: boolean; readonly tlsCa?: string } = {},
): Promise<Access> {
  const file = flags.tlsCa ?? host.env("OPENBOX_TLS_CA");
  return {
    server,
    insecureHttp: flags.insecureHttp || isOn(host.env("OPENBOX_INSECURE_HTTP")) ||
      (kept.insecure_http ?? false),
    tlsCa: file ? await readTextFile(file, "the certificate") : kept.tls_ca,
  };
}

/** The control plane, with a word on a terminal about a call that takes long. */
export const openControl = (access: Access & { readonly token: Secret }, host: Host) =>
  createControlClient({
    ...access,
    watch: () => showWaiting(`waiting for ${access.server.href} …`, host),
  });

/** `source` says where it stood, for the error. */
export function parseToken(text: string, source: string): Secret {
  const token = text.trim();
  const refuse = (why: string, hint: string): never => {
    throw new OpenboxError("unauthorized", `${source}: ${why}`, { hint });
  };
  if (token === "") refuse("there is no token in it", "`openbox control` prints the first one");
  if (token.startsWith("enroll_")) {
    refuse("this token is for a new node, not for a person", "openbox agent --token-file FILE");
  }
  if (!/^[\x21-\x7e]{1,256}$/.test(token)) {
    refuse("this is not a token", "a token begins with obx_ and has no blanks");
  }
  return new Secret(token);
}

export async function warnInsecure(
  access: Pick<Access, "server" | "insecureHttp">,
  host: Host,
): Promise<void> {
  const warning = insecureWarning(access);
  if (warning) await printWarning(warning, host);
}

const insecureWarning = ({ server, insecureHttp }: Pick<Access, "server" | "insecureHttp">) =>
  isInsecure(server) && insecureHttp
    ? `${server.href} is plain HTTP: whoever is on the way can read the token`
    : undefined;

/** `endsAt` in epoch seconds. */
export async function warnExpiry(endsAt: number | undefined, host: Host): Promise<void> {
  const warning = expiryWarning(endsAt, host.clock.now());
  if (warning) await printWarning(warning, host);
}

function expiryWarning(endsAt: number | undefined, now: number): string | undefined {
  if (endsAt === undefined) return undefined;
  const left = endsAt - now / 1000;
  if (left > WARN_BEFORE_SECONDS) return undefined;
  const when = left > 0 ? `ends in ${Math.ceil(left / 86_400)} days` : "has ended";
  return `the token ${when}; openbox login with a new one`;
}
