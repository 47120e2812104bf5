/** What is found once everything runs again: asked of the control plane, the file system and the process list. */
import type { AuditRecord } from "../../src/api/audit.ts";
import { MAX_AUDIT_RECORDS } from "../../src/api/audit.ts";
import type { Found, History } from "./history.ts";
import type { ChaosWorld } from "./world.ts";

/** The audit goes on behind what an earlier look brought, which `audit` has. */
export async function look(world: ChaosWorld, audit: AuditRecord[]): Promise<Found> {
  const { direct } = world.controls[0]!;
  for (;;) {
    const page = await direct.audit({ after: audit.at(-1)?.seq ?? 0, limit: MAX_AUDIT_RECORDS });
    audit.push(...page);
    if (page.length < MAX_AUDIT_RECORDS) break;
  }
  const nodes = await direct.nodes();
  const verdict = await direct.verifyAudit({ kept: undefined });
  return {
    counters: await readCounters(world.counters),
    nodes: new Map(
      [...Map.groupBy(nodes, ({ name }) => name)].map((
        [name, list],
      ) => [name, list.map(({ id }) => id)]),
    ),
    values: new Map(
      nodes.flatMap(({ id, tags }) => {
        const value = tags.find((tag) => tag.startsWith("v"))?.slice(1);
        return value === undefined ? [] : [[`tag of ${id}`, value]];
      }),
    ),
    audit,
    auditBad: verdict.bad,
    leftovers: [...await strayProcesses(world), ...await strayFiles(world)],
  };
}

/** Each run that a client started, or that a node began, has its end on record. */
export function isTold(history: History, { audit }: Found): boolean {
  const starts = audit.filter(({ action }) => action === "run.start");
  const ends = audit.filter(({ action }) => action === "run.end");
  const told = new Set(starts.map(({ subject }) => subject));
  return ends.length === starts.length &&
    history.runs.every(({ id, outcome }) => outcome !== "exit" || told.has(id));
}

async function readCounters(directory: string): Promise<Map<string, number>> {
  const counters = new Map<string, number>();
  for await (const { name } of Deno.readDir(directory)) {
    const lines = (await Deno.readTextFile(`${directory}/${name}`)).split("\n").length - 1;
    counters.set(name, lines);
  }
  return counters;
}

/** Commands of this world: each names its counter in its line. */
async function strayProcesses({ counters }: ChaosWorld): Promise<string[]> {
  const { stdout } = await new Deno.Command("/bin/ps", {
    args: ["-ww", "-A", "-o", "pid=,stat=,args="],
  }).output();
  return new TextDecoder().decode(stdout).split("\n")
    .filter((line) => line.includes(counters) && !/^\s*\d+\s+Z/.test(line))
    .map((line) => `a process is left: ${line.trim().slice(0, 200)}`);
}

async function strayFiles({ root }: ChaosWorld): Promise<string[]> {
  const found: string[] = [];
  async function walk(directory: string): Promise<void> {
    for await (const { name, isDirectory } of Deno.readDir(directory)) {
      if (isDirectory) await walk(`${directory}/${name}`);
      else if (name.endsWith(".tmp")) found.push(`a file is left: ${directory}/${name}`);
    }
  }
  await walk(root);
  return found;
}
