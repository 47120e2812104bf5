/** What a workflow of GitHub Actions may look like here, read by its lines: the form is ours, and a test holds it. */

/** One line for each thing that is not as it should be. */
export function findBreaches(workflow: string): string[] {
  const breaches: string[] = [];
  const refuse = (found: string | undefined | false, why: string) => {
    if (found !== undefined && found !== false) breaches.push(`${why}: ${found.trim()}`);
  };
  const lines = workflow.split("\n");
  for (const line of lines.filter((line) => /\buses:/.test(line))) {
    const pinned = /^ *- uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line);
    refuse(!pinned && line, "not pinned to a commit, with its version beside it");
  }
  for (const run of runsOf(lines)) {
    refuse(run.includes("${{") && run, "an expression is put into a shell's text");
  }
  const triggers = part(lines, "on");
  refuse(triggers.find((line) => /pull_request_target|workflow_run|issue/.test(line)), "a trigger");
  refuse(!lines.includes("permissions: {}") && "none", "permissions for all jobs");
  const jobs = jobsOf(lines);
  refuse(jobs.size === 0 && "none", "jobs");
  const foreign = triggers.some((line) => /pull_request/.test(line));
  for (const [name, job] of jobs) {
    const text = job.join("\n");
    refuse(!/^ {4}permissions:/m.test(text) && name, "a job says nothing of its permissions");
    refuse(!/^ {4}timeout-minutes: \d+$/m.test(text) && name, "a job without a limit of time");
    const secret = job.find((line) => line.includes("secrets."));
    refuse(foreign && secret, "a secret where pull requests run");
    refuse(
      !/^ {4}environment: release$/m.test(text) && secret,
      "a secret outside of its environment",
    );
    const checkouts = text.match(/uses: actions\/checkout@/g)?.length ?? 0;
    const without = text.match(/^ {10}persist-credentials: false$/gm)?.length ?? 0;
    refuse(checkouts !== without && name, "a checkout leaves a token behind");
  }
  return breaches;
}

/** What each job may write, by its name. */
export function writesOf(workflow: string): Record<string, string[]> {
  return Object.fromEntries(
    [...jobsOf(workflow.split("\n"))].map(([name, job]) => [
      name,
      job.flatMap((line) => /^ {6}([\w-]+): write\b/.exec(line)?.[1] ?? []),
    ]).filter(([, writes]) => writes!.length > 0),
  );
}

/** The lines below a key of the first level. */
function part(lines: readonly string[], key: string): readonly string[] {
  const start = lines.indexOf(`${key}:`) + 1;
  if (start === 0) return [];
  const length = lines.slice(start).findIndex((line) => /^\S/.test(line));
  return lines.slice(start, length < 0 ? undefined : start + length);
}

function jobsOf(lines: readonly string[]): Map<string, string[]> {
  const jobs = new Map<string, string[]>();
  let job: string[] = [];
  for (const line of part(lines, "jobs")) {
    const [, name] = /^ {2}([\w-]+):$/.exec(line) ?? [];
    if (name) jobs.set(name, job = []);
    else job.push(line);
  }
  return jobs;
}

/** The shell's text of each step. */
function* runsOf(lines: readonly string[]): Generator<string> {
  for (const [at, line] of lines.entries()) {
    const [, before, text] = /^( *(?:- )?)run: (.*)$/.exec(line) ?? [];
    if (before === undefined || text === undefined) continue;
    if (!/^[|>]/.test(text)) {
      yield text;
      continue;
    }
    const below = lines.slice(at + 1);
    const length = below.findIndex((line) => line !== "" && indent(line) <= before.length);
    yield below.slice(0, length < 0 ? undefined : length).join("\n");
  }
}

const indent = (line: string): number => line.length - line.trimStart().length;
