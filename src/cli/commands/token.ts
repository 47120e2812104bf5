/** `openbox token …`: what people and programs log in with. */
import { type Token, TOKEN_TTL_SECONDS } from "../../api/tokens.ts";
import { utf8 } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import type { Host } from "../../host.ts";
import { parseDuration } from "../duration.ts";
import { openControl, readLogin } from "../login.ts";
import { printJson, printLine, printNote } from "../output.ts";
import { formatTable } from "../table.ts";
import type { RemoveFlags } from "./user.ts";

export interface TokenCreateFlags {
  readonly user?: string;
  readonly name?: string;
  readonly scope?: readonly string[];
  readonly ttl?: string;
  readonly out?: string;
  readonly json?: boolean;
}

/** Printed once, and nowhere else to be had; `--out` keeps it from the screen. */
export async function tokenCreate(flags: TokenCreateFlags, host: Host): Promise<void> {
  const { user, name, scope, ttl, out } = flags;
  const request = {
    ...(user !== undefined && { user }),
    ...(name !== undefined && { name }),
    ...(scope && { scopes: [...scope] }),
    ...(ttl !== undefined && { ttl_seconds: readTtl(ttl) }),
  };
  const login = await readLogin(host);
  await using control = openControl(login, host);
  await using file = out === undefined ? undefined : await createFile(out, host);
  const made = await control.createToken(request, { signal: host.signal });
  await file?.keep(`${made.token}\n`);
  if (flags.json) {
    const { token, ...rest } = made;
    await printJson(file ? { ...rest, file: out } : { token, ...rest }, host);
  } else if (!file) await printLine(made.token, host);
  const until = new Date(made.expires_at * 1000).toISOString().slice(0, 10);
  const where = file ? `in ${out}` : "shown only here";
  await printNote(`a token of ${made.user_name} (${made.id}), good until ${until}; ${where}`, host);
}

const readTtl = (text: string): number =>
  Math.ceil(parseDuration(text, "--ttl", TOKEN_TTL_SECONDS.max * 1000) / 1000);

/** Made before the token is, so that there is none that could not be kept; removed unless it was. */
async function createFile(path: string, host: Host) {
  const full = path.startsWith("/") ? path : `${host.cwd()}/${path}`;
  let file: Deno.FsFile;
  try {
    file = await Deno.open(full, { write: true, createNew: true, mode: 0o600 });
  } catch (cause) {
    throw new OpenboxError(
      "bad_file",
      cause instanceof Deno.errors.AlreadyExists
        ? `${path} is there already`
        : `Cannot write ${path}`,
      { hint: "--out names a new file", cause },
    );
  }
  let kept = false;
  return {
    async keep(text: string): Promise<void> {
      const bytes = utf8(text);
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
      await file.sync();
      kept = true;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      file.close();
      if (!kept) await Deno.remove(full).catch(() => {});
    },
  };
}

export interface TokenListFlags {
  readonly user?: string;
  readonly all?: boolean;
  readonly json?: boolean;
}

const HEAD = ["NAME", "ID", "USER", "ENDS", "LAST USED", "SCOPES"] as const;

export async function tokenList(flags: TokenListFlags, host: Host): Promise<void> {
  const { user, all, json } = flags;
  if (user !== undefined && all) {
    throw new OpenboxError("usage", "--user and --all exclude each other");
  }
  await using control = openControl(await readLogin(host), host);
  const tokens = await control.tokens({ user, all }, { signal: host.signal });
  if (json) return printJson({ tokens }, host);
  await host.stdout.write(utf8(formatTable([HEAD, ...tokens.map(row)])));
}

const row = (token: Token): string[] => [
  token.current ? `${token.name} (this one)` : token.name,
  token.id,
  token.user_name,
  day(token.expires_at),
  token.last_used === null ? "never" : new Date(token.last_used * 1000).toISOString().slice(0, 16),
  token.scopes?.join(" ") ?? "all",
];

const day = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 10);

/** With what was made with it, unless that is to stay. */
export async function tokenRevoke(flags: RemoveFlags, host: Host, id: string): Promise<void> {
  const { force, keepMade } = flags;
  await using control = openControl(await readLogin(host), host);
  await control.deleteToken(id, { force, keepMade }, { signal: host.signal });
  if (flags.json) return printJson({ id }, host);
  await printLine(`revoked ${id}${keepMade ? "" : " and what was made with it"}`, host);
}
