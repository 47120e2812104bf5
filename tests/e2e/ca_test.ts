/** The CA of real processes: rotated under a CLI and an agent, sealed over a restart. */
import assert from "node:assert/strict";
import { parseCertificate, parseCertificateLine } from "../../src/ssh/certificate.ts";
import { authorizedLine } from "../../src/ssh/key.ts";
import { type Fleet, startFleet, step } from "../fixtures/fleet.ts";
import { eventually } from "../fixtures/processes.ts";
import { makeHome } from "../unit/cli/call.ts";
import { bootstrapToken, startControl, temporaryHome } from "./control_process.ts";

const PASSPHRASE = "five words nobody would guess";

const config = async (fleet: Fleet) =>
  JSON.parse(await Deno.readTextFile(`${fleet.home}/config.json`));
const agentFile = async (fleet: Fleet) =>
  JSON.parse(await Deno.readTextFile(`${fleet.agents[0]!.home}/agent/agent.json`));

Deno.test("ROT-1: the CA of a running fleet is rotated, and the agent, the login and a CI job follow", async (t) => {
  await using fleet = await startFleet();
  const run = async (args: readonly string[], env?: Record<string, string>) => {
    const done = await fleet.call(args, { env });
    assert.equal(done.code, 0, `${args.join(" ")}: ${done.err}`);
    return done;
  };
  const before = await config(fleet);
  let sessions = 0;
  /** A change of its sessions has the agent beat within two seconds. */
  const followed = async () => {
    await run(["-t", "box", "-s", `s${++sessions}`, "true"]);
    await eventually("the node has followed", async () => {
      const { host, user } = JSON.parse((await run(["ca", "status", "--json"])).out);
      return host.waiting_count + user.waiting_count === 0;
    }, 20_000);
  };

  await step(t, "the steps come one after the other, and commands run in each", async () => {
    await run(["ca", "rotate", "init"]);
    const early = await fleet.call(["ca", "rotate", "update"]);
    assert.equal(early.code, 5, early.err);
    assert.match(early.err, /box \(node_\w+\)/);
    await followed();
    await run(["ca", "rotate", "update"]);
    await followed();
    await run(["-t", "box", "true"]);
    await run(["ca", "rotate", "finish"]);
    await followed();
    await run(["-t", "box", "true"]);
  });

  await step(t, "both have the new keys, and nothing of the old", async () => {
    const cli = await config(fleet), agent = await agentFile(fleet);
    assert.notEqual(cli.user_ca_pubkey, before.user_ca_pubkey);
    assert.notEqual(cli.host_ca_pubkey, before.host_ca_pubkey);
    assert.deepEqual(agent.ca_trust, cli.ca_trust);
    assert.deepEqual(agent.ca_trust.user.keys, [cli.user_ca_pubkey]);
    const { authority } = parseCertificate(parseCertificateLine(agent.host_cert));
    assert.equal(authorizedLine(authority), cli.host_ca_pubkey);
  });

  await step(t, "a job that pins the fingerprint of before goes on", async () => {
    const env = {
      OPENBOX_HOME: `${fleet.scratch}/nothing`,
      OPENBOX_SERVER: fleet.url,
      OPENBOX_TOKEN: fleet.token,
      OPENBOX_CA_FINGERPRINT: fleet.caFingerprint,
    };
    await run(["-t", "box", "true"], env);
    const other = { ...env, OPENBOX_CA_FINGERPRINT: `SHA256:${"A".repeat(43)}` };
    const refused = await fleet.call(["-t", "box", "true"], { env: other });
    assert.equal(refused.code, 255);
    assert.match(refused.err, /^openbox: ca_changed: /m);
  });
});

Deno.test("ROT-6: sealed by the CLI, a control plane starts locked and is unsealed without a restart", async () => {
  await using home = await temporaryHome();
  await using cli = await makeHome();
  const login = async (url: string, token: string) => {
    const done = await cli.call(["login", "--server", url], { stdin: token });
    assert.equal(done.code, 0, done.err);
  };
  let token: string;
  {
    await using control = await startControl({ home: home.path });
    token = await bootstrapToken(home.path);
    await login(control.url, token);
    const sealed = await cli.call(["ca", "seal", "--passphrase-file", "-"], {
      stdin: `${PASSPHRASE}\n`,
    });
    assert.equal(sealed.code, 0, sealed.err);
    assert.match(sealed.out, /the CA is sealed/);
  }
  const key = `${home.path}/control/ca_key`;
  assert.doesNotMatch(await Deno.readTextFile(key), /PRIVATE KEY/);
  assert.equal((await Deno.stat(key)).mode! & 0o777, 0o600);

  await using control = await startControl({ home: home.path });
  assert.match(control.stdout(), /the CA is sealed; openbox ca unseal/);
  await login(control.url, token);
  assert.match((await cli.call(["ca", "status"])).out, /sealed +locked: openbox ca unseal/);
  const wrong = await cli.call(["ca", "unseal"], { stdin: "quite another passphrase" });
  assert.equal(wrong.code, 3, wrong.err);
  assert.match(wrong.err, /^openbox: wrong_passphrase: /m);
  const env = { OPENBOX_CA_PASSPHRASE: PASSPHRASE };
  const opened = await cli.call(["ca", "unseal"], { env });
  assert.equal(opened.code, 0, opened.err);
  const { locked, sealed } = JSON.parse((await cli.call(["ca", "status", "--json"])).out);
  assert.deepEqual([locked, sealed], [false, true]);
  assert.ok(!(control.stdout() + control.stderr()).includes(PASSPHRASE));
  await control[Symbol.asyncDispose]();

  // with it at hand it starts open
  await using third = await startControl({ home: home.path, env });
  assert.doesNotMatch(third.stdout(), /sealed/);
});
