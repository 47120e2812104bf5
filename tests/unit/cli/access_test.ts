import assert from "node:assert/strict";
import { startWorld } from "../control/world.ts";
import { makeHome } from "./call.ts";

/** A control plane, and its first user at a shell. */
async function world() {
  const stack = new AsyncDisposableStack();
  const control = stack.use(await startWorld());
  const home = stack.use(await makeHome());
  const as = (token: string) => (...args: string[]) =>
    home.call(args, { env: { OPENBOX_SERVER: control.url, OPENBOX_TOKEN: token } });
  const owned = stack.move();
  return {
    control,
    home,
    as,
    call: as(control.token),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("a user is added, gets a token, may what his rules say, and is removed", async () => {
  await using w = await world();
  await w.control.enroll({ name: "mini", tags: ["lab"] });
  const added = await w.call("user", "add", "ann");
  assert.match(added.out, /^added ann \(usr_[0-9a-f]{12}\), who may: read run\n$/);
  assert.match(added.err, /openbox token create --user ann/);
  const made = await w.call("token", "create", "--user", "ann", "--ttl", "30d", "--name", "laptop");
  assert.match(made.out, /^obx_[A-Za-z0-9]{40}\n$/, "the token alone, for a pipe");
  assert.match(made.err, /a token of ann \(tok_\w+\), good until \d{4}-\d\d-\d\d; shown only here/);
  const ann = w.as(made.out.trim());
  assert.match((await ann("nodes")).out, /mini/);
  const refused = await ann("node", "rm", "mini");
  assert.equal(refused.code, 3);
  assert.match(
    refused.err,
    /^openbox: not_allowed: .*no rule allows admin\n +hint: openbox can ann admin/,
  );
  assert.match(
    (await w.call("user", "list")).out,
    /^ann +usr_\w+ +1 +read run\nme +usr_\w+ +1 +admin read run\n/m,
  );
  assert.match((await w.call("user", "rm", "ann")).out, /^removed ann \(usr_\w+\)\n$/);
  assert.equal((await ann("nodes")).code, 3);
  assert.equal((await w.call("user", "rm", "ann")).code, 4);
});

Deno.test("rules are added, listed and removed, and can says what they come to", async () => {
  await using w = await world();
  const node = await w.control.enroll({ name: "mini", tags: ["ci"] });
  await w.control.enroll({ name: "prod", tags: ["prod"] });
  await w.call("user", "add", "robot", "--rule", "run:tag=ci,session=no");
  const yes = await w.call("can", "robot", "run", "-t", "ci");
  assert.equal(yes.code, 0);
  assert.equal(
    yes.out,
    `yes: robot may run on mini (${node.id}), by the rule run (run:tag=ci,session=no)\n`,
  );
  const no = await w.call("can", "robot", "run", "-n", "prod");
  assert.equal(no.code, 3);
  assert.equal(no.out, "no: the rule run (run:tag=ci,session=no) has not a tag of the node prod\n");
  assert.equal((await w.call("can", "robot", "run", "-t", "ci", "-s")).code, 3);
  const added = await w.call(
    "rule",
    "add",
    "robot",
    "run:node=prod,isolation=docker",
    "--name",
    "p",
  );
  const [, id] = /\((rul_\w+)\): robot may run:node=prod,isolation=docker\n$/.exec(added.out)!;
  const json = await w.call("can", "robot", "run", "-n", "prod", "--docker", "debian", "--json");
  const { allowed, rule, isolation } = JSON.parse(json.out);
  assert.deepEqual([allowed, rule.name, isolation], [true, "p", "docker:debian"]);
  assert.match((await w.call("rule", "list", "robot")).out, /^robot +p +rul_\w+ +run:node=prod/m);
  assert.equal((await w.call("rule", "rm", id!)).code, 0);
  assert.equal((await w.call("can", "robot", "run", "-n", "prod", "--docker", "debian")).code, 3);
  const wrong = await w.call("rule", "add", "robot", "run:tags=ci");
  assert.equal(wrong.code, 2);
  assert.match(
    wrong.err,
    /^openbox: grant_invalid: .*unknown key "tags"\n +hint: keys of run: tag/,
  );
  for (
    const args of [["fly"], ["read", "-n", "x"], ["run", "-t", "a", "-t", "b"], [
      "admin",
      "-t",
      "a",
    ]]
  ) assert.equal((await w.call("can", "robot", ...args)).code, 2, args.join(" "));
});

Deno.test("a token goes into a new file of mode 0600, or is not made", async () => {
  await using w = await world();
  await Deno.mkdir(w.home.path, { recursive: true });
  const path = `${w.home.path}/robot.token`;
  const made = await w.call("token", "create", "--scope", "read", "--out", path, "--json");
  assert.doesNotMatch(made.out, /obx_/);
  assert.deepEqual(JSON.parse(made.out).scopes, ["read"]);
  assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  const token = (await Deno.readTextFile(path)).trim();
  assert.equal((await w.as(token)("nodes")).code, 0);
  const again = await w.call("token", "create", "--out", path);
  assert.match(again.err, /bad_file: .*is there already/);
  const bad = await w.call("token", "create", "--scope", "reed", "--out", `${path}2`);
  assert.equal(bad.code, 2);
  await assert.rejects(Deno.stat(`${path}2`));
  const { tokens } = JSON.parse((await w.call("token", "list", "--json")).out);
  assert.equal(tokens.length, 2, "the first one and that");
  const list = await w.call("token", "list");
  assert.match(list.out, /^bootstrap \(this one\) +tok_\w+ +me +\d{4}-\d\d-\d\d +\S+ +all\n/m);
  const { id } = tokens.find(({ name }: { name: string }) => name === "token");
  assert.match((await w.call("token", "revoke", id)).out, /^revoked tok_\w+ and what was made/);
  assert.equal((await w.as(token)("nodes")).code, 3);
  const last = await w.call("token", "revoke", tokens[0].id);
  assert.equal(last.code, 5);
  assert.match(last.err, /Nobody would be left .*\n +hint: --force .*openbox control --new-token/);
});

Deno.test("an enrollment token for many ephemeral nodes is made, listed and revoked", async () => {
  await using w = await world();
  const made = await w.call(
    ...["node", "token", "--reusable", "20", "--ephemeral", "10m", "--tag", "ci", "--ttl", "30d"],
    ...["--name", "cloud"],
  );
  assert.match(made.out, /^OPENBOX_ENROLL_TOKEN=enroll_\S+ openbox agent --server http:\S+\n$/);
  assert.match(made.err, /within 30d; it works for 20 machines/);
  const list = await w.call("node", "tokens");
  assert.match(list.out, /^cloud +tok_\w+ +20 of 20 +ci +10m +\d{4}-\S+Z$/m);
  const [, id] = /(tok_\w+)/.exec(list.out)!;
  assert.equal((await w.call("node", "tokens", "--revoke", id!)).out, `revoked ${id}\n`);
  assert.match((await w.call("node", "tokens")).err, /none waits/);
  assert.equal((await w.call("node", "tokens", "--revoke", id!)).code, 4);
  for (const n of ["0", "-1", "x", "1e3", "1001"]) {
    assert.equal((await w.call("node", "token", "--reusable", n)).code, 2, n);
  }
  assert.equal((await w.call("node", "token", "--ephemeral", "30s")).code, 2);
});
