import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Ask,
  decide,
  mayEver,
  namedLimits,
  type Rights,
  type RunAsk,
} from "../../../src/access/decide.ts";
import { parseGrant, VERBS } from "../../../src/access/grant.ts";

const rights = (rules: readonly string[], scopes: "all" | readonly string[] = "all"): Rights => ({
  rules: rules.map((text, i) => ({ id: `rul_${i}`, name: `r${i}`, grant: parseGrant(text) })),
  scopes: scopes === "all" ? "all" : scopes.map(parseGrant),
});
const NODE = { id: "node_1", name: "mini", tags: ["ci", "gpu"] };
const run = (ask: Partial<Omit<RunAsk, "verb">> = {}): RunAsk => ({
  verb: "run",
  node: NODE,
  isolation: "native",
  session: false,
  login: undefined,
  ...ask,
});
const allows = (who: Rights, ask: Ask) => decide(who, ask).allowed;

Deno.test("nobody may do anything that no rule allows", () => {
  for (const verb of ["read", "audit", "admin"] as const) {
    assert.deepEqual(decide(rights([]), { verb }), {
      allowed: false,
      by: "rules",
      why: `no rule allows ${verb}`,
    });
  }
  assert.equal(allows(rights([]), run()), false);
  assert.equal(allows(rights([]), { verb: "enroll", tags: [] }), false);
});

Deno.test("a verb is itself and no other; admin is all of them", () => {
  for (const held of VERBS) {
    for (const asked of VERBS) {
      const ask: Ask = asked === "run"
        ? run()
        : asked === "enroll"
        ? { verb: asked, tags: ["x"] }
        : { verb: asked };
      const expected = held === asked || held === "admin";
      assert.equal(allows(rights([held]), ask), expected, `${held} for ${asked}`);
      assert.equal(mayEver(rights([held]), asked), expected);
      assert.equal(allows(rights(["admin"], [held]), ask), expected, `scope ${held} for ${asked}`);
    }
  }
});

Deno.test("a token has no more than its user, and no more than its scopes", () => {
  assert.equal(allows(rights(["read"], ["admin"]), { verb: "admin" }), false);
  assert.deepEqual(decide(rights(["read", "run"], ["read"]), run()), {
    allowed: false,
    by: "scopes",
    why: "no scope of the token is run",
  });
  assert.equal(allows(rights(["read", "run"], []), { verb: "read" }), false, "none is not all");
  assert.equal(allows(rights(["run:tag=gpu"], ["run:tag=ci"]), run()), true);
  assert.equal(allows(rights(["run:node=a"], ["run:tag=ci"]), run()), false);
});

Deno.test("values of one key are alternatives, keys hold together", () => {
  assert.equal(allows(rights(["run:tag=x,tag=ci"]), run()), true);
  assert.equal(allows(rights(["run:tag=ci,node=other"]), run()), false);
  assert.equal(allows(rights(["run:tag=ci,node=mini"]), run()), true);
  assert.equal(allows(rights(["run:tag=ci,node=node_1"]), run()), true);
  assert.equal(allows(rights(["run:tag=c"]), run()), false);
  assert.equal(allows(rights(["run:tag=CI"]), run()), false);
  assert.equal(allows(rights(["run:session=no"]), run({ session: true })), false);
  assert.equal(allows(rights(["run:session=yes"]), run({ session: true })), true);
  assert.equal(allows(rights(["run:session=yes"]), run()), false);
});

Deno.test("an isolation is a kind, or exactly the one named", () => {
  const docker = run({ isolation: "docker:debian:12" });
  assert.equal(allows(rights(["run:isolation=docker"]), docker), true);
  assert.equal(allows(rights(["run:isolation=docker:debian:12"]), docker), true);
  assert.equal(allows(rights(["run:isolation=docker:debian"]), docker), false);
  assert.equal(allows(rights(["run:isolation=native"]), docker), false);
  assert.equal(allows(rights(["run:isolation=nspawn"]), docker), false);
});

Deno.test("a login is of native commands: alone it allows no container, which would be root there", () => {
  const build = rights(["run:login=build"]);
  assert.equal(allows(build, run({ login: "build" })), true);
  assert.equal(allows(build, run({ login: "root" })), false);
  assert.equal(allows(build, run({ isolation: "docker:x" })), false);
  assert.equal(allows(build, run({ isolation: "nspawn:/srv/x" })), false);
  const example = rights(["run:tag=ci,isolation=docker,session=no,login=build"]);
  assert.equal(allows(example, run({ isolation: "docker:x" })), true);
  assert.equal(allows(example, run({ isolation: "native", login: "build" })), false);
});

Deno.test("what a caller leaves open is filled in with what alone fits", () => {
  const filled = (rules: readonly string[], ask: Partial<RunAsk>, scopes?: readonly string[]) => {
    const decision = decide(rights(rules, scopes), run({ isolation: undefined, ...ask }));
    return decision.allowed ? [decision.ask.isolation, decision.ask.login] : decision.why;
  };
  assert.deepEqual(filled(["run"], {}), [undefined, undefined]);
  assert.deepEqual(filled(["run:isolation=docker:a"], {}), ["docker:a", undefined]);
  assert.deepEqual(filled(["run:isolation=docker:a,isolation=native"], {}), ["native", undefined]);
  assert.deepEqual(filled(["run:login=build"], {}), ["native", "build"]);
  assert.deepEqual(filled(["run:login=build"], { login: "build" }), ["native", "build"]);
  assert.deepEqual(filled(["run:isolation=docker"], {}, ["run:isolation=docker:a"]), [
    "docker:a",
    undefined,
  ]);
  assert.deepEqual(filled(["run:login=a,login=b"], {}, ["run:login=b,login=c"]), ["native", "b"]);
  for (
    const rule of [
      "run:isolation=docker",
      "run:isolation=docker:a,isolation=docker:b",
      "run:isolation=docker,isolation=docker:a",
    ]
  ) assert.match(String(filled([rule], {})), /needs an isolation that is named/);
  assert.match(String(filled(["run:login=a,login=b"], {})), /needs a login that is named, of a, b/);
});

Deno.test("enrolling within tags is with those tags, and with one at least", () => {
  const ci = rights(["enroll:tag=ci,tag=gpu"]);
  const may = (...tags: string[]) => allows(ci, { verb: "enroll", tags });
  assert.deepEqual([may("ci"), may("ci", "gpu"), may("ci", "prod"), may()], [
    true,
    true,
    false,
    false,
  ]);
});

Deno.test("an answer names the rule that decided, and a refusal each that did not fit", () => {
  const decision = decide(rights(["read", "run:tag=prod", "run:tag=ci"]), run());
  assert.equal(decision.allowed && decision.rule.name, "r2");
  const refused = decide(rights(["read", "run:tag=prod"]), run());
  assert.equal(refused.allowed, false);
  assert.match(!refused.allowed ? refused.why : "", /the rule r1 \(run:tag=prod\) has not a tag/);
});

Deno.test("the limits of rules and scopes are known by name", () => {
  const who = rights(["run:tag=a", "enroll:tag=z"], ["run:tag=b,node=n"]);
  assert.deepEqual(namedLimits(who, "run", "tag"), ["a", "b"]);
  assert.deepEqual(namedLimits(who, "run", "node"), ["n"]);
  assert.deepEqual(namedLimits(rights(["admin"]), "run", "tag"), []);
});

const GRANTS = [
  "read",
  "run",
  "admin",
  "run:tag=ci",
  "run:tag=prod",
  "run:isolation=docker",
  "run:isolation=docker:a",
  "run:isolation=native",
  "run:isolation=native,isolation=docker:a",
  "run:login=build",
  "run:login=build,login=ci",
  "run:session=no",
  "run:session=yes,node=mini",
];
const some = fc.array(fc.constantFrom(...GRANTS), { maxLength: 4 });
const asks = fc.record({
  isolation: fc.constantFrom(undefined, "native", "docker:a", "docker:b", "nspawn:/x"),
  session: fc.boolean(),
  login: fc.constantFrom(undefined, "build", "root"),
});

Deno.test("what is filled in was allowed by itself, and rules and scopes each allow it", () => {
  fc.assert(fc.property(some, some, asks, (rules, scopes, ask) => {
    const decision = decide(rights(rules, scopes), run(ask));
    if (!decision.allowed) return;
    assert.ok(allows(rights(rules), decision.ask), "by the rules");
    assert.ok(allows(rights(scopes), decision.ask), "by the scopes");
    for (const key of ["isolation", "login", "session"] as const) {
      if (ask[key] !== undefined) assert.equal(decision.ask[key], ask[key], "what was said stays");
    }
  }));
});

Deno.test("a further rule takes nothing away, a further scope neither", () => {
  fc.assert(
    fc.property(some, some, asks, fc.constantFrom(...GRANTS), (rules, scopes, ask, more) => {
      if (!allows(rights(rules, scopes), run(ask))) return;
      assert.ok(allows(rights([...rules, more], scopes), run(ask)));
      assert.ok(allows(rights(rules, [...scopes, more]), run(ask)));
    }),
  );
});
