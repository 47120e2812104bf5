import assert from "node:assert/strict";
import { ENTRY } from "../../fixtures/audit_entry.ts";
import type { Needs } from "../../../src/control/route.ts";
import { ROUTES } from "../../../src/control/routes/table.ts";
import { OPTION } from "../../../src/ca/names.ts";
import { parseCertificate, parseCertificateLine } from "../../../src/ssh/certificate.ts";
import { assertRefused, startWorld, type World } from "./world.ts";
import { dispatch, done, tokenOf } from "./access_world.ts";

const SCOPES = ["read", "run", "enroll", "audit", "admin", "run:tag=ci", "enroll:tag=ci"];

/** Whether a scope lets a call through to its handler. */
const opens = (scope: string, needs: Needs): boolean =>
  needs === "self" || scope === "admin" || scope.split(":")[0] === needs;

const USER_ROUTES = ROUTES.filter(({ auth }) => auth === "user");

Deno.test("TOK-4: a call of users names what it needs", () => {
  for (const { auth, needs, path } of ROUTES) {
    assert.equal(needs !== undefined, auth === "user", path);
  }
});

for (const by of ["scope", "not_allowed"] as const) {
  const what = by === "scope" ? "scopes of a token" : "rules of a user";
  Deno.test(`TOK-4: each call is open to the ${what} that it needs, and to no other`, async () => {
    await using world = await startWorld({ refusalsPerMinute: 1e6 });
    for (const grant of SCOPES) {
      const name = grant.replace(/\W/g, "-");
      const { token } = await tokenOf(
        world,
        name,
        by === "scope" ? { rules: ["admin"], scopes: [grant] } : { rules: [grant] },
      );
      for (const route of USER_ROUTES) {
        const path = route.path.replace(":id", "tok_000000000000");
        // no body that any call takes: who may not is told so before it is read
        const reply = await world.call(route.method, path, {
          token,
          ...(["POST", "PATCH"].includes(route.method) && { body: [] }),
        });
        const name = `${grant} on ${route.method} ${route.path}: ${reply.text}`;
        if (opens(grant, route.needs!)) {
          assert.ok(![401, 500].includes(reply.status), name);
          // a call about oneself has its own limits; they are not those of a verb
          if (route.needs !== "self") assert.notEqual(reply.status, 403, name);
        } else {
          assert.equal(reply.status, 403, name);
          assert.equal(reply.body.code, by, name);
          assert.match(reply.body.hint, /openbox can /, name);
        }
      }
    }
  });
}

Deno.test("TOK-4: nobody without rules may do anything but see who he is", async () => {
  await using world = await startWorld();
  const { token } = await tokenOf(world, "nobody", { rules: [] });
  assert.equal((await world.call("GET", "/v1/whoami", { token })).status, 200);
  for (const path of ["/v1/nodes", "/v1/sessions", "/v1/users", "/v1/rules"]) {
    assertRefused(await world.call("GET", path, { token }), 403, "not_allowed");
  }
  assertRefused(await dispatch(world, token), 403, "not_allowed");
});

/** Two nodes, and a token for those with the tag `ci`. */
async function twoNodes(world: World) {
  const ci = await world.enroll({ name: "runner", tags: ["ci"] });
  const prod = await world.enroll({ name: "prod", tags: ["prod"] });
  const { token, id, userId } = await tokenOf(world, "robot", { scopes: ["run:tag=ci"] });
  const records = async () =>
    await world.store.auditRecords(world.user.accountId, { after: 0, limit: 1000 });
  const sessions = async () => {
    const user = (await world.store.user(world.user.accountId, userId))!;
    return (await world.store.sessions(user)).map(({ name }) => name);
  };
  return { ci, prod, token, id, userId, records, sessions };
}

Deno.test("TOK-5: a token for one tag reaches no other node, by whatever it is named", async () => {
  await using world = await startWorld();
  const { ci, prod, token, sessions } = await twoNodes(world);
  for (const target of [{ node_id: prod.id }, { node_id: "prod" }, { tag: "prod" }]) {
    for (const session_id of ["", "s1"]) {
      const reply = await dispatch(world, token, { ...target, session_id });
      assertRefused(reply, 403, "scope");
      assert.match(reply.body.hint, /openbox can robot run -n prod( -s)? explains it/);
    }
  }
  assert.deepEqual(await sessions(), [], "nothing was bound");
  for (const target of [{ node_id: ci.id }, { tag: "ci" }, {}]) {
    const reply = await dispatch(world, token, target);
    assert.equal(reply.body.node_id, ci.id, "the only one that is for it");
  }
  assertRefused(await dispatch(world, token, { tag: "none" }), 404, "node_not_found");
});

Deno.test("TOK-5: a session on another node is out of reach too", async () => {
  await using world = await startWorld();
  const { ci, prod, token, userId, sessions } = await twoNodes(world);
  const full = await tokenOf(world, "robot");
  await done(dispatch(world, full.token, { session_id: "deploy", node_id: prod.id }));
  for (const body of [{ session_id: "deploy" }, { session_id: "deploy", tag: "ci" }]) {
    assertRefused(await dispatch(world, token, body), 403, "scope");
  }
  await done(dispatch(world, token, { session_id: "build" }));
  assert.deepEqual((await sessions()).sort(), ["build", "deploy"]);
  const listed = await done(world.call("GET", "/v1/sessions", { token }));
  assert.deepEqual(listed.sessions.map((one: { session_id: string }) => one.session_id), ["build"]);
  assertRefused(await world.call("DELETE", "/v1/sessions/deploy", { token }), 403, "scope");
  assertRefused(await world.call("DELETE", "/v1/sessions/none", { token }), 404, "not_found");
  await done(world.call("DELETE", "/v1/sessions/build", { token }));
  assert.deepEqual(await sessions(), ["deploy"]);
  assert.ok(userId && ci);
});

Deno.test("TOK-5: a tag that several nodes have leads to one that is allowed", async () => {
  await using world = await startWorld();
  await world.enroll({ name: "a", tags: ["gpu"] });
  const b = await world.enroll({ name: "b", tags: ["gpu", "ci"] });
  const c = await world.enroll({ name: "c", tags: ["gpu", "ci"] });
  const { token } = await tokenOf(world, "robot", { rules: ["run:tag=ci"] });
  assert.equal((await dispatch(world, token, { tag: "gpu" })).body.node_id, b.id);
  const several = await dispatch(world, token);
  assertRefused(several, 400, "target_required");
  assert.doesNotMatch(several.text, /\ba \(/, "what it may not use is not named");
  assert.match(several.body.hint, new RegExp(`b \\(${b.id}\\), c \\(${c.id}\\)`));
  const unknown = await dispatch(world, token, { tag: "x" });
  assert.doesNotMatch(unknown.text, /gpu/, "nor is it to who may not read");
});

Deno.test("CERT-24: a node that is called as another's id is not taken for it", async () => {
  await using world = await startWorld();
  const prod = await world.enroll({ name: "prod", tags: ["prod"] });
  const other = await world.enroll({ name: "other" });
  // as an earlier version took it
  const named = { name: prod.id, tags: ["ci"] };
  await world.store.updateNode(world.user.accountId, other.id, named, ENTRY);
  const { token } = await tokenOf(world, "robot", { rules: ["run:tag=ci"] });
  assertRefused(await dispatch(world, token, { node_id: prod.id }), 403, "not_allowed");
});

Deno.test("CERT-4: a certificate allows no more than the rule, also where the call names nothing", async () => {
  await using world = await startWorld();
  await world.enroll();
  const certified = async (rules: string[], body: object = {}) => {
    const name = `u${crypto.randomUUID().slice(0, 8)}`;
    const { token } = await tokenOf(world, name, { rules });
    const reply = await dispatch(world, token, body);
    if (reply.status !== 200) return reply.body.code;
    const { critical } = parseCertificate(parseCertificateLine(reply.body.user_cert));
    return [critical.get(OPTION.isolation), critical.get(OPTION.login)];
  };
  assert.deepEqual(await certified(["run"]), [undefined, undefined]);
  assert.deepEqual(await certified(["run:login=build"]), ["native", "build"]);
  assert.deepEqual(await certified(["run:isolation=native"]), ["native", undefined]);
  assert.deepEqual(await certified(["run:isolation=docker:a"]), ["docker:a", undefined]);
  assert.deepEqual(await certified(["run:isolation=docker:a"], { session_id: "s" }), [
    "docker:a",
    undefined,
  ]);
  assert.equal(await certified(["run:isolation=docker"]), "not_allowed");
  assert.equal(await certified(["run:isolation=docker"], { isolation: "native" }), "not_allowed");
  assert.deepEqual(await certified(["run:isolation=docker"], { isolation: "docker:b" }), [
    "docker:b",
    undefined,
  ]);
  assert.equal(await certified(["run:login=build"], { login: "root" }), "not_allowed");
  assert.equal(await certified(["run:login=a,login=b"]), "not_allowed");
  assert.equal(await certified(["run:session=no"], { session_id: "s" }), "not_allowed");
  assert.equal(await certified(["run:session=yes"]), "not_allowed");
});

Deno.test("AUD-2: a run that was not allowed is told with the reason, one that was with the rule", async () => {
  await using world = await startWorld();
  const { prod, token, id, userId, records } = await twoNodes(world);
  await dispatch(world, token, { node_id: prod.id });
  await done(dispatch(world, token, { tag: "ci" }));
  const told = (await records()).filter(({ action }) => action === "dispatch");
  assert.deepEqual(told.map(({ outcome }) => outcome), ["denied", "allowed"]);
  for (const record of told) assert.deepEqual([record.actor, record.tokenId], [userId, id]);
  assert.match(String(told[0]!.detail?.why), /run:tag=ci/);
  assert.equal(told[1]!.detail?.rule, "run");
});

Deno.test("AUD-9: who may read the audit may change nothing, and is not who may run", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const { token } = await tokenOf(world, "auditor", { rules: ["audit"] });
  assert.equal((await world.call("GET", "/v1/audit", { token })).status, 200);
  for (const route of USER_ROUTES.filter(({ needs }) => needs !== "audit" && needs !== "self")) {
    const reply = await world.call(route.method, route.path.replace(":id", node.id), { token });
    assertRefused(reply, 403, "not_allowed");
  }
});

Deno.test("a rule that was taken away or given holds at the next call", async () => {
  await using world = await startWorld();
  const { token } = await tokenOf(world, "bob");
  const by = { token: world.token };
  const nodes = async () => (await world.call("GET", "/v1/nodes", { token })).status;
  const { rules } = await done(world.call("GET", "/v1/rules?user=bob", by));
  const read = rules.find((rule: { grant: string }) => rule.grant === "read");
  assert.equal(await nodes(), 200);
  await done(world.call("DELETE", `/v1/rules/${read.id}`, by));
  assert.equal(await nodes(), 403);
  await done(world.call("POST", "/v1/rules", { ...by, body: { user: "bob", grant: "read" } }));
  assert.equal(await nodes(), 200);
});
