/** A control plane is backed up while it runs, its machine is lost, and another one takes its place. */
import assert from "node:assert/strict";
import { text } from "../../src/bytes.ts";
import { openboxCommand } from "../fixtures/openbox.ts";
import { freePort } from "../fixtures/port.ts";
import { bootstrapToken, startControl, temporaryHome } from "./control_process.ts";

Deno.test("STO-8: from a backup a lost control plane comes back with its users, its audit and its CA", async () => {
  await using files = await temporaryHome();
  const root = files.path, home = `${root}/control`, file = `${root}/box.backup`;
  await Deno.mkdir(root);
  await Deno.writeTextFile(`${root}/passphrase`, "correct horse battery\n", { mode: 0o600 });
  const env = { OPENBOX_ADDR: `127.0.0.1:${freePort()}` };
  const openbox = async (args: readonly string[], of: string, stdin = "null") => {
    const child = openboxCommand(args, {
      env: { OPENBOX_HOME: of },
      stdin: stdin === "null" ? "null" : "piped",
    }).spawn();
    if (stdin !== "null") {
      await new Blob([stdin]).stream().pipeTo(child.stdin);
    }
    const { code, stdout, stderr } = await child.output();
    return { code, out: text(stdout), err: text(stderr) };
  };
  const good = async (...call: Parameters<typeof openbox>) => {
    const done = await openbox(...call);
    assert.equal(done.code, 0, done.err);
    return done;
  };
  const cli = `${root}/cli`;
  {
    await using control = await startControl({ home, env });
    await good(["login", "--server", control.url], cli, await bootstrapToken(home));
    await good(["node", "token", "--tag", "x"], cli);
    const made = await good(
      ["backup", file, "--passphrase-file", `${root}/passphrase`, "--json"],
      cli,
    );
    assert.equal(JSON.parse(made.out).file, file);
    assert.equal((await Deno.stat(file)).mode! & 0o777, 0o600);
    const again = await openbox(["backup", file, "--without-ca"], cli);
    assert.match(again.err, /conflict: .* is there already/);
    const busy = await openbox(["restore", file], home);
    assert.equal(busy.code, 5, busy.err);
    assert.match(busy.err, new RegExp(`conflict: .* as process ${control.pid}`));
  }
  assert.doesNotMatch(await Deno.readTextFile(file), /OPENSSH PRIVATE KEY|obx_|obn_/);
  await Deno.remove(home, { recursive: true });

  const restored = JSON.parse((await good(["restore", file, "--json"], home)).out);
  assert.equal(restored.ca, "restored");
  assert.equal(restored.audit.bad, null);
  {
    await using control = await startControl({
      home,
      env: { ...env, OPENBOX_CA_PASSPHRASE: "correct horse battery" },
    });
    await good(["whoami"], cli); // the token, and the CA that was pinned
    await good(["audit", "verify"], cli);
    const { out } = await good(["audit", "--json"], cli);
    assert.match(out, /"action":"restore"/);
    assert.ok(control.pid > 0);
  }
});
