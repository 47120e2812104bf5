/**
 * The first user and the token to log in with. It is an ordinary token, said once: on the terminal,
 * or in a 0600 file that goes away when it was used, never in a log unless somebody asked for that.
 */
import { equalBytes, utf8 } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { readPrivateFile, writePrivateFile } from "../home/private_file.ts";
import { newUserToken } from "../ids.ts";
import { log } from "../log.ts";
import { Secret } from "../secret.ts";
import type { AuditAction, AuditDetail, AuditEntry } from "../store/audit.ts";
import type { NewUserToken, Store, User } from "../store/store.ts";
import type { ControlSettings } from "./settings.ts";

export const FIRST_USER = "me";
export const USER_TOKEN_MS = 90 * 24 * 3600 * 1000;
const MAX_FILE_BYTES = 1024;

export type FirstToken =
  /** Nothing to say: it was said before, or the operator set it. */
  | { readonly kind: "known" }
  | { readonly kind: "shown"; readonly token: Secret }
  | { readonly kind: "kept"; readonly path: string };

export interface Bootstrap {
  readonly first: FirstToken;
  /** Told each user token that was good: the file of the first one goes away with its use. */
  tokenUsed(token: string): void;
}

export interface BootstrapOptions {
  readonly settings: ControlSettings["bootstrap"];
  /** Whether what is shown is seen by a person, and kept by nobody. */
  readonly terminal: boolean;
  readonly now: number;
}

export async function bootstrap(store: Store, options: BootstrapOptions): Promise<Bootstrap> {
  const { settings, now } = options;
  const audit = bySystem("user.add", now, { name: FIRST_USER });
  const user = await store.ensureFirstUser(FIRST_USER, now, audit);
  if (settings.kind !== "make") {
    await addGivenToken(store, user, await givenToken(settings), now);
    return { first: { kind: "known" }, tokenUsed: () => {} };
  }
  const { file, print } = settings;
  const show = print || options.terminal;
  const kept = file && await readPrivateFile(file, { maxBytes: MAX_FILE_BYTES });
  if (await store.hasUserToken(user)) {
    if (!file || !kept) return { first: { kind: "known" }, tokenUsed: () => {} };
    const token = new Secret(kept.trim());
    return {
      first: show ? { kind: "shown", token } : { kind: "kept", path: file },
      tokenUsed: removeOnUse(file, token),
    };
  }
  const token = new Secret(newUserToken());
  if (show) {
    await store.addUserToken(user, ...firstToken(user, token, "first start", now));
    return { first: { kind: "shown", token }, tokenUsed: () => {} };
  }
  if (!file) throw nowhere();
  // the file first: a token that nobody can read would lock everybody out
  await writePrivateFile(file, `${token.reveal()}\n`);
  await store.addUserToken(user, ...firstToken(user, token, "first start", now));
  return { first: { kind: "kept", path: file }, tokenUsed: removeOnUse(file, token) };
}

export const newToken = (token: Secret, name: string, now: number): NewUserToken => ({
  token,
  name,
  scopes: "all",
  createdAt: now,
  expiresAt: now + USER_TOKEN_MS,
});

const firstToken = (
  { accountId }: User,
  token: Secret,
  name: string,
  now: number,
): [NewUserToken, AuditEntry] => [
  newToken(token, name, now),
  { ...bySystem("token.create", now, { name }), accountId },
];

/** What the control plane does by itself. */
export const bySystem = (
  action: AuditAction,
  now: number,
  detail?: AuditDetail,
): AuditEntry => ({
  at: now,
  accountId: undefined,
  action,
  outcome: "allowed",
  actor: "system",
  detail,
});

async function givenToken(
  settings: Exclude<ControlSettings["bootstrap"], { kind: "make" }>,
): Promise<Secret> {
  const [text, source] = settings.kind === "text"
    ? [settings.token.reveal(), "OPENBOX_BOOTSTRAP_TOKEN"]
    : [await readPrivateFile(settings.path, { maxBytes: MAX_FILE_BYTES }), settings.path];
  if (text === undefined) {
    throw new OpenboxError("bad_file", `There is no bootstrap token file ${source}`);
  }
  // the form of our own tokens, so that nobody takes a word that can be guessed
  if (/^obx_[A-Za-z0-9]{40}$/.test(text.trim())) return new Secret(text.trim());
  throw new OpenboxError(
    "bad_setting",
    `The token in ${source} is not obx_ and 40 letters and digits`,
    {
      hint:
        "printf 'obx_%s\\n' \"$(LC_ALL=C tr -dc A-Za-z0-9 < /dev/urandom | head -c 40)\" makes one",
    },
  );
}

/** At the second start with the same token it is known, and stays as it was: its end is not put off. */
async function addGivenToken(store: Store, user: User, token: Secret, now: number): Promise<void> {
  try {
    await store.addUserToken(user, ...firstToken(user, token, "bootstrap", now));
  } catch (error) {
    if (!(error instanceof OpenboxError) || error.code !== "conflict") throw error;
  }
}

function removeOnUse(file: string, token: Secret): (used: string) => void {
  let waiting = true;
  const wanted = utf8(token.reveal());
  return (used) => {
    if (!waiting || !equalBytes(utf8(used), wanted)) return;
    waiting = false;
    Deno.remove(file).then(
      () => log("control").info("the first token was used; its file is removed", { file }),
      (error) => {
        if (error instanceof Deno.errors.NotFound) return; // somebody was faster
        log("control").warn("the first token was used; its file cannot be removed", {
          file,
          error,
        });
      },
    );
  };
}

const nowhere = () =>
  new OpenboxError(
    "bad_setting",
    "There is no terminal to show the first user's token on, and no home to keep it in",
    {
      hint:
        "OPENBOX_BOOTSTRAP_TOKEN sets it, --print-bootstrap-token prints it, OPENBOX_HOME keeps it",
    },
  );
