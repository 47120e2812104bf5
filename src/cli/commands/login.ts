import { caFingerprint } from "../../ca/keys.ts";
import { formatTrust } from "../../ca/kept_trust.ts";
import { currentPair, followCa, trustPair } from "../../ca/trust.ts";
import { parseServerUrl, requireSecure, type ServerUrl } from "../../client/server_url.ts";
import { type CaPin, checkCa, parseCaAnswer, parseFingerprint } from "../../client/trust.ts";
import { type Config, readConfig, writeConfig } from "../../home/config.ts";
import { homePaths } from "../../home/paths.ts";
import { readStdinText, readTextFile } from "../../home/text_file.ts";
import type { Host } from "../../host.ts";
import type { Secret } from "../../secret.ts";
import { caPin } from "../ca_pin.ts";
import { askHidden } from "../hidden_input.ts";
import { openControl, parseToken, readAccess, warnExpiry, warnInsecure } from "../login.ts";
import { printJson, printLine, printNote, printWarning } from "../output.ts";

export interface LoginFlags {
  readonly server?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly caFingerprint?: string;
  readonly insecureHttp?: boolean;
  readonly tlsCa?: string;
  readonly json?: boolean;
}

/** Where `openbox control` listens unless told otherwise. */
const STANDARD_SERVER = "http://127.0.0.1:8080";

/** Keeps a token and pins the CA, once the control plane has taken the one and named the other. */
export async function login(flags: LoginFlags, host: Host): Promise<void> {
  const path = homePaths(host).config;
  // read before anything is asked: a file that is not ours must not be overwritten
  const before = await readConfig(path);
  const server = chooseServer(flags, before, host);
  const kept = before && parseServerUrl(before.server).href === server.href ? before : undefined;
  const access = await readAccess(server, kept ?? {}, host, flags);
  requireSecure(server, access.insecureHttp);
  await warnInsecure(access, host);
  const pin = choosePin(flags, kept, host);
  const token = await chooseToken(flags, server, host);

  await using control = openControl({ ...access, token }, host);
  const me = await control.whoami({ signal: host.signal });
  const trust = pin
    ? checkCa(me, pin, server)
    : followCa(trustPair(parseCaAnswer(me)), me.ca_rotations ?? []);
  const ca = caFingerprint(currentPair(trust));
  await writeConfig(path, {
    server: server.href,
    token: token.reveal(),
    key_pem: before?.key_pem ?? "",
    user: me.name,
    user_id: me.user_id,
    ...formatTrust(trust),
    ...(me.token_expires_at !== undefined && { token_expires_at: me.token_expires_at }),
    insecure_http: access.insecureHttp,
    ...(access.tlsCa !== undefined && { tls_ca: access.tlsCa }),
  });

  await warnExpiry(me.token_expires_at, host);
  if (!pin) {
    await printNote(`pinned the CA ${ca}: compare it with what \`openbox control\` printed`, host);
  }
  if (flags.json) {
    const { user_id, name } = me;
    return printJson({ user_id, name, server: server.href, ca_fingerprint: ca }, host);
  }
  await printLine(`logged in as ${me.name} on ${server.href}`, host);
}

function chooseServer(flags: LoginFlags, before: Config | undefined, host: Host): ServerUrl {
  if (flags.server !== undefined) return parseServerUrl(flags.server);
  const named = host.env("OPENBOX_SERVER");
  if (named !== undefined) return parseServerUrl(named, "OPENBOX_SERVER");
  return parseServerUrl(before?.server ?? STANDARD_SERVER);
}

/** Undefined at the first contact without a fingerprint: then the CA is shown, and pinned. */
function choosePin(flags: LoginFlags, kept: Config | undefined, host: Host): CaPin | undefined {
  const named = flags.caFingerprint ?? host.env("OPENBOX_CA_FINGERPRINT");
  if (named !== undefined) {
    return { kind: "fingerprint", fingerprint: parseFingerprint(named, "--ca-fingerprint") };
  }
  return kept && caPin({ caFingerprint: undefined, stored: kept });
}

async function chooseToken(flags: LoginFlags, server: ServerUrl, host: Host): Promise<Secret> {
  if (flags.token !== undefined) {
    await printWarning(
      "--token shows in `ps` and in the shell's history; --token-file does not",
      host,
    );
    return parseToken(flags.token, "--token");
  }
  if (flags.tokenFile !== undefined) {
    const what = "the token";
    const text = flags.tokenFile === "-"
      ? await readStdinText(host, what)
      : await readTextFile(flags.tokenFile, what);
    return parseToken(text, "--token-file");
  }
  const named = host.env("OPENBOX_TOKEN");
  if (named !== undefined) return parseToken(named, "OPENBOX_TOKEN");
  if (!host.stdin.isTerminal()) return parseToken(await readStdinText(host, "the token"), "stdin");
  return parseToken(await askHidden(`Token for ${server.href}: `, host), "the answer");
}
