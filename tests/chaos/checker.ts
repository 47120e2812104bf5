/**
 * The invariants that hold whatever breaks (docs/security.md): each is a sentence about a history and
 * what was found afterwards. Pure, so that the checker itself can be tried with histories that are wrong.
 */
import type { AuditRecord } from "../../src/api/audit.ts";
import type { Found, History, RunFact } from "./history.ts";

export interface Violation {
  readonly invariant: string;
  readonly what: string;
}

export function check(history: History, found: Found): Violation[] {
  const violations: Violation[] = [];
  const broken = (invariant: string, what: string) => violations.push({ invariant, what });

  for (const [name, facts] of Map.groupBy(history.sessions, ({ name }) => name)) {
    const nodes = new Set(facts.map(({ nodeId }) => nodeId));
    if (nodes.size > 1) broken("I1", `the session ${name} was on ${[...nodes].join(" and ")}`);
  }
  for (const { name, acknowledged } of history.enrolls) {
    const there = found.nodes.get(name) ?? [];
    if (there.length > 1) broken("I2", `one token made ${there.length} nodes called ${name}`);
    for (const id of acknowledged) {
      if (!there.includes(id)) {
        broken("I3", `the node ${name} (${id}) was acknowledged and is gone`);
      }
    }
  }
  for (const [key, facts] of Map.groupBy(history.writes, ({ key }) => key)) {
    const last = facts.findLastIndex(({ acknowledged }) => acknowledged);
    if (last < 0) continue;
    const possible = facts.slice(last).map(({ value }) => value), value = found.values.get(key);
    if (value === undefined || !possible.includes(value)) {
      broken("I3", `${key} is ${value}, not ${facts[last]!.value}, which was acknowledged last`);
    }
  }

  const dispatched = new Map<string, number>();
  for (const { action, detail, seq } of found.audit) {
    if (action === "dispatch" && typeof detail.serial === "string") {
      if (dispatched.has(detail.serial)) {
        broken("I4", `two certificates have serial ${detail.serial}`);
      }
      dispatched.set(detail.serial, seq);
    }
  }
  for (const serial of history.serials) {
    if (!dispatched.has(serial)) {
      broken("I4", `certificate ${serial} was given and is not on record`);
    }
  }
  const starts = found.audit.filter(({ action }) => action === "run.start");
  for (const { seq, detail } of starts) {
    const issued = dispatched.get(String(detail.serial));
    if (issued === undefined || issued > seq) {
      broken(
        "I4",
        `certificate ${detail.serial} was used at record ${seq} before it was on record`,
      );
    }
  }

  for (const { id, accepted } of history.revoked) {
    if (accepted) {
      broken("I5", `of the token ${id}, revoked a minute ago, was accepted: ${accepted}`);
    }
  }
  const ends = Map.groupBy(
    found.audit.filter(({ action }) => action === "run.end"),
    (record) => `${record.actor} ${record.detail.start}`,
  );
  for (const start of starts) {
    const found = ends.get(`${start.actor} ${start.detail.node_event}`) ?? [];
    if (found.length !== 1) {
      broken("I6", `the run ${start.subject} has ${found.length} ends: ${found.map(ending)}`);
    }
  }
  const byRun = Map.groupBy(starts, ({ subject }) => subject);
  for (const run of history.runs) {
    const lines = found.counters.get(run.id) ?? 0;
    if (lines > 1) broken("I7", `the run ${run.id} ran ${lines} times`);
    if (run.outcome === "not_started" && lines > 0) {
      broken("I7", `the run ${run.id} was said not to have started, and it ran`);
    }
    if (run.outcome === "exit") {
      if (lines !== 1) {
        broken("I7", `the run ${run.id} ended with ${run.code} and ran ${lines} times`);
      }
      if (!byRun.has(run.id)) {
        broken("I6", `the run ${run.id} ended and its start is not on record`);
      }
    }
    const why = wrongOutput(run);
    if (why) broken("I10", `the run ${run.id} (${run.outcome} ${run.code}): ${why}`);
  }
  for (const what of found.leftovers) broken("I8", what);
  if (found.auditBad) broken("I9", `record ${found.auditBad.seq}: ${found.auditBad.why}`);
  return violations;
}

const ending = ({ detail }: AuditRecord): string => `${detail.outcome} ${detail.code}`;

function wrongOutput({ outcome, code, got, wanted }: RunFact): string | undefined {
  if (!wanted.output.startsWith(got)) {
    let at = 0;
    while (wanted.output[at] === got[at]) at++;
    return `its output is another one from byte ${at} on: ${
      JSON.stringify(got.slice(at, at + 40))
    }`;
  }
  if (outcome !== "exit" || code !== wanted.code) return undefined;
  return got.length === wanted.output.length
    ? undefined
    : `it ended well and ${wanted.output.length - got.length} bytes of its output are missing`;
}
