/** The checker finds what is planted: one that finds nothing would pass every round. */
import assert from "node:assert/strict";
import type { AuditRecord } from "../../src/api/audit.ts";
import { check } from "./checker.ts";
import { emptyHistory, type Found, type History } from "./history.ts";

const record = (seq: number, action: string, rest: Partial<AuditRecord> = {}): AuditRecord => ({
  seq,
  time: "2026-01-01T00:00:00.000Z",
  account_id: "acc_1",
  action,
  outcome: "allowed",
  actor: "node_1",
  actor_name: null,
  token_id: null,
  source: null,
  request_id: null,
  subject: null,
  subject_name: null,
  detail: {},
  process: "proc_1",
  uptime_ms: 0,
  hash: "",
  ...rest,
});
const DISPATCH = record(1, "dispatch", { detail: { serial: "7" } });
const START = record(2, "run.start", { subject: "run_1", detail: { serial: "7", node_event: 1 } });
const END = record(3, "run.end", {
  subject: "run_1",
  detail: { start: 1, outcome: "exit", code: 0 },
});
const RUN = {
  id: "run_1",
  outcome: "exit",
  code: 0,
  wanted: { output: "abc", code: 0 },
  got: "abc",
} as const;

const GOOD_FOUND: Found = {
  counters: new Map([["run_1", 1]]),
  nodes: new Map([["fresh", ["node_9"]]]),
  values: new Map([["name", "b"]]),
  audit: [DISPATCH, START, END],
  auditBad: null,
  leftovers: [],
};
const GOOD: History = {
  ...emptyHistory(),
  runs: [RUN],
  sessions: [{ name: "s", nodeId: "node_1" }, { name: "s", nodeId: "node_1" }],
  enrolls: [{ name: "fresh", acknowledged: ["node_9"] }],
  writes: [
    { key: "name", value: "a", acknowledged: true },
    { key: "name", value: "b", acknowledged: false },
  ],
  revoked: [{ id: "tok_1", accepted: undefined }],
  serials: ["7"],
};

Deno.test("a history that is as it must be has no violation", () => {
  assert.deepEqual(check(GOOD, GOOD_FOUND), []);
});

const PLANTED: readonly (readonly [string, string, Partial<History>, Partial<Found>])[] = [
  ["I1", "a session on two nodes", {
    sessions: [{ name: "s", nodeId: "node_1" }, { name: "s", nodeId: "node_2" }],
  }, {}],
  ["I2", "two nodes of one token", {}, { nodes: new Map([["fresh", ["node_9", "node_8"]]]) }],
  ["I3", "an acknowledged node that is gone", {}, { nodes: new Map() }],
  ["I3", "an acknowledged write that was undone", {}, { values: new Map([["name", "older"]]) }],
  ["I3", "an acknowledged write that is gone", {}, { values: new Map() }],
  ["I4", "a certificate that is not on record", { serials: ["7", "8"] }, {}],
  ["I4", "one that was used before it was on record", {}, {
    audit: [{ ...DISPATCH, seq: 9 }, START, END],
  }],
  ["I4", "a serial that was given twice", {}, {
    audit: [DISPATCH, { ...DISPATCH, seq: 4 }, START, END],
  }],
  ["I5", "a revoked token that is accepted", {
    revoked: [{ id: "tok_1", accepted: "a dispatch" }],
  }, {}],
  ["I6", "a run without an end", {}, { audit: [DISPATCH, START] }],
  ["I6", "a run with two ends", {}, { audit: [DISPATCH, START, END, { ...END, seq: 4 }] }],
  ["I6", "a run whose start is not on record", {}, { audit: [DISPATCH] }],
  ["I7", "a run that ran twice", {}, { counters: new Map([["run_1", 2]]) }],
  ["I7", "a run that ended and never ran", {}, { counters: new Map() }],
  ["I7", "a run that was not started and ran", {
    runs: [{ ...RUN, outcome: "not_started", code: 255, got: "" }],
  }, {}],
  ["I8", "a process that was left", {}, { leftovers: ["sleep 861"] }],
  ["I9", "a record that was changed", {}, { auditBad: { seq: 2, why: "changed" } }],
  ["I10", "an output that lacks its end", { runs: [{ ...RUN, got: "ab" }] }, {}],
  ["I10", "an output that is another one", { runs: [{ ...RUN, got: "axc" }] }, {}],
];
for (const [invariant, what, history, found] of PLANTED) {
  Deno.test(`${invariant} is broken by ${what}`, () => {
    const broken = check({ ...GOOD, ...history }, { ...GOOD_FOUND, ...found });
    assert.deepEqual([...new Set(broken.map((violation) => violation.invariant))], [invariant]);
  });
}

Deno.test("I10 holds for what was cut off in the middle", () => {
  const cut = { ...RUN, outcome: "lost", code: 255, got: "a" } as const;
  assert.deepEqual(check({ ...GOOD, runs: [cut] }, GOOD_FOUND), []);
});
