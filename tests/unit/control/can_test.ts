import assert from "node:assert/strict";
import { authorizedLine } from "../../../src/ssh/key.ts";
import { done, KEY, tokenOf } from "./access_world.ts";
import { assertRefused, startWorld, type World } from "./world.ts";

const can = (world: World, body: object, token = world.token) =>
  world.call("POST", "/v1/can", { token, body });

Deno.test("an answer names the rule, the node and what the certificate would say", async () => {
  await using world = await startWorld();
  const node = await world.enroll({ name: "runner", tags: ["ci"] });
  await world.enroll({ name: "prod", tags: ["prod"] });
  const { userId } = await tokenOf(world, "robot", { rules: ["run:tag=ci,login=build"] });
  assert.deepEqual(await done(can(world, { user: "robot", verb: "run", tag: "ci" })), {
    allowed: true,
    user_id: userId,
    user_name: "robot",
    verb: "run",
    rule: {
      id: (await world.store.rules(world.user.accountId, userId))[0]!.id,
      name: "run",
      grant: "run:tag=ci,login=build",
    },
    scope: null,
    node: { id: node.id, name: "runner" },
    isolation: "native",
    login: "build",
    why: null,
    code: null,
  });
});

Deno.test("a refusal says which rule does not fit, or that there is no node", async () => {
  await using world = await startWorld();
  await world.enroll({ name: "prod", tags: ["prod"] });
  await world.enroll({ name: "off", tags: ["off"], online: false });
  await tokenOf(world, "robot", { rules: ["run:tag=ci", "enroll:tag=ci"] });
  const ask = async (body: object) => {
    const answer = await done(can(world, { user: "robot", ...body }));
    assert.equal(answer.rule, null);
    return [answer.allowed, answer.code, answer.node?.name, answer.why];
  };
  assert.deepEqual(await ask({ verb: "run", tag: "prod" }), [
    false,
    "not_allowed",
    "prod",
    "the rule run (run:tag=ci) has not a tag of the node prod",
  ]);
  assert.deepEqual((await ask({ verb: "run", tag: "none" })).slice(0, 3), [
    false,
    "node_not_found",
    undefined,
  ]);
  assert.deepEqual((await ask({ verb: "admin" })).slice(0, 2), [false, "not_allowed"]);
  assert.deepEqual((await ask({ verb: "enroll", tags: ["prod"] })).slice(0, 2), [
    false,
    "not_allowed",
  ]);
  const ok = await done(can(world, { user: "robot", verb: "enroll", tags: ["ci"] }));
  assert.deepEqual([ok.allowed, ok.rule.name], [true, "enroll"]);
  const off = await done(can(world, { user: "me", verb: "run", tag: "off" }));
  assert.deepEqual([off.allowed, off.code], [false, "node_offline"]);
});

Deno.test("what can says of oneself is what the call then does, its token's scopes included", async () => {
  await using world = await startWorld();
  await world.enroll({ name: "runner", tags: ["ci"] });
  await world.enroll({ name: "prod", tags: ["prod"] });
  const grants = ["run:tag=ci", "run:isolation=docker", "run:session=no", "read", "admin"];
  for (const rule of grants) {
    for (const scope of grants) {
      const name = `${rule}--${scope}`.replace(/\W/g, "-");
      const { token } = await tokenOf(world, name, { rules: [rule], scopes: [scope] });
      for (const tag of ["ci", "prod"]) {
        for (const isolation of [undefined, "native", "docker:debian"]) {
          const reply = await can(world, { verb: "run", tag, isolation }, token);
          const dispatched = await world.call("POST", "/v1/dispatch", {
            token,
            body: { tag, isolation, client_pubkey: authorizedLine(KEY) },
          });
          const { allowed, code, node } = reply.body;
          assert.equal(allowed, dispatched.status === 200, `${name} ${tag} ${isolation}`);
          if (allowed) assert.equal(node.id, dispatched.body.node_id);
          else assert.equal(code, dispatched.body.code, `${name} ${tag} ${isolation}`);
        }
      }
    }
  }
});

Deno.test("about others only an administrator may ask", async () => {
  await using world = await startWorld();
  const bob = await tokenOf(world, "bob");
  assertRefused(await can(world, { user: "me", verb: "run" }, bob.token), 403, "not_allowed");
  assertRefused(await can(world, { user: "nobody", verb: "run" }, bob.token), 403, "not_allowed");
  assertRefused(await can(world, { user: "nobody", verb: "run" }), 404, "not_found");
  assert.equal((await done(can(world, { user: "bob", verb: "read" }, bob.token))).allowed, true);
  assertRefused(await can(world, { verb: "fly" }), 400, "bad_request");
  assertRefused(await can(world, { verb: "run", isolation: "podman:x" }), 400, "isolation_invalid");
});

Deno.test("a session is not bound by asking", async () => {
  await using world = await startWorld();
  await world.enroll();
  const answer = await done(can(world, { verb: "run", session: true }));
  assert.equal(answer.allowed, true);
  assert.deepEqual(await world.store.sessions(world.user), []);
});

Deno.test("who may run nothing learns of no node by asking", async () => {
  await using world = await startWorld();
  await world.enroll({ name: "hidden", tags: ["ci"] });
  const { token } = await tokenOf(world, "auditor", { rules: ["audit"] });
  for (const target of [{}, { tag: "ci" }, { node_id: "hidden" }, { tag: "none" }]) {
    const answer = await done(can(world, { verb: "run", ...target }, token));
    const { allowed, code, node, why } = answer;
    assert.deepEqual([allowed, code, node, why], [
      false,
      "not_allowed",
      null,
      "no rule allows run",
    ]);
  }
});
