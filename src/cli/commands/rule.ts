/** `openbox rule …`: what users may do. */
import { utf8 } from "../../bytes.ts";
import type { Host } from "../../host.ts";
import { openControl, readLogin } from "../login.ts";
import { printJson, printLine } from "../output.ts";
import { formatTable } from "../table.ts";

export interface RuleAddFlags {
  readonly name?: string;
  readonly json?: boolean;
}

export async function ruleAdd(
  flags: RuleAddFlags,
  host: Host,
  user: string,
  grant: string,
): Promise<void> {
  await using control = openControl(await readLogin(host), host);
  const request = { user, grant, ...(flags.name !== undefined && { name: flags.name }) };
  const rule = await control.createRule(request, { signal: host.signal });
  if (flags.json) return printJson(rule, host);
  await printLine(`added the rule ${rule.name} (${rule.id}): ${user} may ${rule.grant}`, host);
}

const HEAD = ["USER", "NAME", "ID", "GRANT"] as const;

export async function ruleList(
  flags: { readonly json?: boolean },
  host: Host,
  user?: string,
): Promise<void> {
  const { signal } = host;
  await using control = openControl(await readLogin(host), host);
  const rules = await control.rules({ user }, { signal });
  if (flags.json) return printJson({ rules }, host);
  const names = new Map((await control.users({ signal })).map(({ id, name }) => [id, name]));
  const rows = rules.map((rule) => [
    names.get(rule.user_id) ?? rule.user_id,
    rule.name,
    rule.id,
    rule.grant,
  ]);
  await host.stdout.write(utf8(formatTable([HEAD, ...rows])));
}

export interface RuleRemoveFlags {
  readonly force?: boolean;
  readonly json?: boolean;
}

export async function ruleRemove(flags: RuleRemoveFlags, host: Host, id: string): Promise<void> {
  await using control = openControl(await readLogin(host), host);
  await control.deleteRule(id, { force: flags.force }, { signal: host.signal });
  if (flags.json) return printJson({ id }, host);
  await printLine(`removed ${id}`, host);
}
