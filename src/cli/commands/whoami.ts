import { caFingerprint } from "../../ca/keys.ts";
import { parseCaAnswer } from "../../client/trust.ts";
import type { Host } from "../../host.ts";
import { openControl, readLogin, warnExpiry } from "../login.ts";
import { printJson, printLine } from "../output.ts";

export async function whoami(flags: { readonly json?: boolean }, host: Host): Promise<void> {
  const login = await readLogin(host);
  await using control = openControl(login, host);
  const me = await control.whoami({ signal: host.signal });
  if (login.tokenEndsAt === undefined) await warnExpiry(me.token_expires_at, host);
  if (!flags.json) return printLine(`${me.name} (${me.user_id}) @ ${login.server.href}`, host);
  const { user_id, name, account_id, token_expires_at } = me;
  await printJson({
    user_id,
    name,
    account_id,
    server: login.server.href,
    ca_fingerprint: caFingerprint(parseCaAnswer(me)),
    token_expires_at: token_expires_at ?? null,
  }, host);
}
