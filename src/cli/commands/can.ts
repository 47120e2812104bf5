/** `openbox can`: whether somebody may, by which rule, and why not. Nothing is done. */
import { VERBS } from "../../access/grant.ts";
import type { CanAnswer } from "../../api/can.ts";
import { OpenboxError } from "../../errors.ts";
import type { Host } from "../../host.ts";
import { openControl, readLogin } from "../login.ts";
import { printJson, printLine } from "../output.ts";

export interface CanFlags {
  readonly tag?: readonly string[];
  readonly node?: string;
  readonly session?: boolean;
  readonly docker?: string;
  readonly nspawn?: string;
  readonly isolate?: string;
  readonly user?: string;
  readonly json?: boolean;
}

/** Not allowed, as everywhere. */
const NO = 3;

export async function can(
  flags: CanFlags,
  host: Host,
  user: string,
  word: string,
): Promise<number> {
  const verb = VERBS.find((known) => known === word);
  if (verb === undefined) {
    throw new OpenboxError("usage", `There is no verb ${JSON.stringify(word)}`, {
      hint: `verbs: ${VERBS.join(", ")}`,
    });
  }
  const { tag = [], node, session, user: login } = flags, isolation = readIsolation(flags);
  const aim = node !== undefined || session || isolation !== undefined || login !== undefined;
  if (verb !== "run" && (aim || (verb !== "enroll" && tag.length > 0))) {
    throw new OpenboxError("usage", `${verb} takes none of these flags`, {
      hint: "they are of run; enroll takes --tag",
    });
  }
  if (verb === "run" && tag.length > 1) throw new OpenboxError("usage", "--tag is given twice");
  await using control = openControl(await readLogin(host), host);
  const answer = await control.can({
    user,
    verb,
    ...(verb === "enroll" ? { tags: [...tag] } : tag[0] !== undefined && { tag: tag[0] }),
    ...(node !== undefined && { node_id: node }),
    ...(session && { session }),
    ...(isolation !== undefined && { isolation }),
    ...(login !== undefined && { login }),
  }, { signal: host.signal });
  await (flags.json ? printJson(answer, host) : printLine(sentence(answer), host));
  return answer.allowed ? 0 : NO;
}

function readIsolation({ docker, nspawn, isolate }: CanFlags): string | undefined {
  const given = [
    docker === undefined ? undefined : `docker:${docker}`,
    nspawn === undefined ? undefined : `nspawn:${nspawn}`,
    isolate,
  ].filter((spec) => spec !== undefined);
  if (given.length > 1) {
    throw new OpenboxError("usage", "More than one isolation is given", {
      hint: "--docker, --nspawn and --isolate exclude each other",
    });
  }
  return given[0];
}

function sentence(answer: CanAnswer): string {
  const { allowed, user_name, verb, rule, scope, node, isolation, login, why } = answer;
  if (!allowed || rule === null) return `no: ${why}`;
  return `yes: ${user_name} may ${verb}` +
    (node === null ? "" : ` on ${node.name} (${node.id})`) +
    (isolation === null ? "" : ` in ${isolation}`) +
    (login === null ? "" : ` as ${login}`) +
    `, by the rule ${rule.name} (${rule.grant})` +
    (scope === null ? "" : ` and the scope ${scope} of this token`);
}
