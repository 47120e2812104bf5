import assert from "node:assert/strict";
import fc from "fast-check";
import { formatGrant, type Grant, parseGrant, VERBS } from "../../../src/access/grant.ts";
import type { OpenboxError } from "../../../src/errors.ts";

const refuses = (text: string, message: RegExp, hint: RegExp) =>
  assert.throws(() => parseGrant(text), (error: OpenboxError) => {
    assert.equal(error.code, "grant_invalid", text);
    assert.match(error.message, message);
    assert.match(error.hint ?? "", hint);
    return true;
  });

Deno.test("a grant is a verb and its limits", () => {
  assert.deepEqual(parseGrant("read"), { verb: "read", limits: [] });
  assert.deepEqual(parseGrant("run:tag=ci,isolation=docker,session=no,login=build"), {
    verb: "run",
    limits: [
      { key: "tag", value: "ci" },
      { key: "isolation", value: "docker" },
      { key: "session", value: "no" },
      { key: "login", value: "build" },
    ],
  });
});

Deno.test("what is unknown is refused, with what is taken", () => {
  refuses("", /unknown verb ""/, /read, run, enroll, audit, admin/);
  refuses("Run", /unknown verb "Run"/, /verbs: /);
  refuses(" run", /unknown verb/, /verbs: /);
  refuses("constructor", /unknown verb/, /verbs: /);
  refuses("run:", /unknown key ""/, /tag, node, isolation, session, login/);
  refuses("run:tags=ci", /unknown key "tags"/, /keys of run: /);
  refuses("run:tag=ci,", /unknown key ""/, /keys of run: /);
  refuses("run:tag=ci,toString=1", /unknown key/, /keys of run: /);
  refuses("enroll:node=a", /unknown key "node"/, /keys of enroll: tag/);
  refuses("admin:tag=ci", /takes no limits/, /write admin/);
  refuses("read:", /takes no limits/, /write read/);
});

Deno.test("a value that could never fit, or fits more than it says, is refused", () => {
  for (
    const limit of [
      "tag",
      "tag=",
      "tag=*",
      "tag=a b",
      "tag= a",
      "tag=-x",
      "tag=é",
      "tag=a\0",
      "node=a/b",
      "session=maybe",
      "session=",
      "login=0",
      "login=-x",
      "isolation=podman",
      "isolation=docker:",
      "isolation=docker:-v/:/host",
      "isolation=Docker",
      "isolation=native:x",
      "isolation=nspawn:relative",
      "isolation=nspawn:/srv//x",
      "isolation=nspawn:/srv/../x",
    ]
  ) refuses(`run:${limit}`, /not taken/, /=/);
});

Deno.test("RES-11: a grant is short, and is read in time that grows with its length", () => {
  refuses(`run:tag=${"a".repeat(1000)}`, /longer than 1000/, /two/);
  refuses(`run:${Array(33).fill("tag=a").join(",")}`, /more than 32/, /two/);
  const hostile = [
    "run:" + "tag=a,".repeat(166).slice(0, 990),
    "run:" + "=".repeat(990),
    "run:" + ",".repeat(990),
    "run:isolation=docker:" + "a-".repeat(480),
    "run:isolation=docker:" + "a/".repeat(480),
    "run:isolation=nspawn:" + "/.".repeat(480),
    ":".repeat(10_000_000),
  ];
  for (const text of hostile) {
    const started = performance.now();
    assert.throws(() => parseGrant(text));
    assert.ok(performance.now() - started < 50, text.slice(0, 40));
  }
});

const name = fc.stringMatching(/^[A-Za-z0-9._][A-Za-z0-9._-]{0,20}$/);
const limit = fc.oneof(
  fc.record({ key: fc.constantFrom("tag" as const, "node" as const), value: name }),
  fc.record({
    key: fc.constant("isolation" as const),
    value: fc.constantFrom("native", "docker", "nspawn", "docker:debian:12", "nspawn:/srv/a=b"),
  }),
  fc.record({ key: fc.constant("session" as const), value: fc.constantFrom("yes", "no") }),
  fc.record({ key: fc.constant("login" as const), value: fc.constantFrom("build", "_ci") }),
);
const grant: fc.Arbitrary<Grant> = fc.oneof(
  fc.record({ verb: fc.constantFrom(...VERBS), limits: fc.constant([]) }),
  fc.record({ verb: fc.constant("run" as const), limits: fc.array(limit, { maxLength: 16 }) }),
  fc.record({
    verb: fc.constant("enroll" as const),
    limits: fc.array(fc.record({ key: fc.constant("tag" as const), value: name }), {
      maxLength: 16,
    }),
  }),
);

Deno.test("a grant that is printed is read as the same one", () => {
  // plain objects, as the parser makes them
  const plain = (one: Grant): Grant => structuredClone(one);
  fc.assert(
    fc.property(grant, (one) => assert.deepEqual(parseGrant(formatGrant(one)), plain(one))),
  );
});

Deno.test("a text that is read is printed as it was, and any other is refused in our words", () => {
  const text = fc.oneof(
    fc.string(),
    fc.tuple(fc.constantFrom(...VERBS), fc.string()).map(([verb, rest]) => `${verb}:${rest}`),
    fc.stringMatching(/^(run|enroll)(:((tag|node|session)=[a-z]{0,3},?){0,4})?$/),
  );
  fc.assert(fc.property(text, (one) => {
    let read: Grant;
    try {
      read = parseGrant(one);
    } catch (error) {
      assert.equal((error as OpenboxError).code, "grant_invalid");
      return;
    }
    assert.equal(formatGrant(read), one);
  }));
});
