/** `openbox user …`: who is in the account. A user is named by name or id. */
import type { User } from "../../api/users.ts";
import type { ControlClient } from "../../client/control_client.ts";
import { utf8 } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import type { Host } from "../../host.ts";
import { openControl, readLogin } from "../login.ts";
import { printJson, printLine, printNote } from "../output.ts";
import { formatTable } from "../table.ts";

export interface UserAddFlags {
  readonly rule?: readonly string[];
  readonly json?: boolean;
}

export async function userAdd(flags: UserAddFlags, host: Host, name: string): Promise<void> {
  await using control = openControl(await readLogin(host), host);
  const rules = flags.rule && [...flags.rule];
  const user = await control.createUser({ name, ...(rules && { rules }) }, { signal: host.signal });
  if (flags.json) return printJson(user, host);
  const may = user.rules.map(({ grant }) => grant).join(" ") || "nothing";
  await printLine(`added ${user.name} (${user.id}), who may: ${may}`, host);
  await printNote(`openbox token create --user ${user.name} makes a token to log in with`, host);
}

const HEAD = ["NAME", "ID", "TOKENS", "RULES"] as const;

export async function userList(
  flags: { readonly json?: boolean },
  host: Host,
): Promise<void> {
  await using control = openControl(await readLogin(host), host);
  const users = await control.users({ signal: host.signal });
  if (flags.json) return printJson({ users }, host);
  const rows = users.map(({ name, id, tokens, rules }) => [
    name,
    id,
    String(tokens),
    rules.map(({ grant }) => grant).join(" ") || "-",
  ]);
  await host.stdout.write(utf8(formatTable([HEAD, ...rows])));
}

export interface RemoveFlags {
  readonly force?: boolean;
  readonly keepMade?: boolean;
  readonly json?: boolean;
}

/** With his rules and his tokens; his sessions are ended. */
export async function userRemove(flags: RemoveFlags, host: Host, wanted: string): Promise<void> {
  const { signal } = host, { force, keepMade } = flags;
  await using control = openControl(await readLogin(host), host);
  const { id, name } = await findUser(control, wanted, host);
  await control.deleteUser(id, { force, keepMade }, { signal });
  if (flags.json) return printJson({ id, name }, host);
  await printLine(`removed ${name} (${id})`, host);
}

async function findUser(control: ControlClient, wanted: string, { signal }: Host): Promise<User> {
  const users = await control.users({ signal });
  const user = users.find(({ id }) => id === wanted) ?? users.find(({ name }) => name === wanted);
  if (user) return user;
  throw new OpenboxError("not_found", `No user has the id or name ${wanted}`, {
    hint: "openbox user list",
  });
}
