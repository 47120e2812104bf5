/** What is revoked is refused at once by the control plane, and with the next heartbeat by the nodes. */
import assert from "node:assert/strict";
import { readAgentSettings } from "../../src/agent/settings.ts";
import { type RunningAgent, startAgent } from "../../src/agent/start.ts";
import type { DispatchAnswer } from "../../src/api/dispatch.ts";
import { createControlClient } from "../../src/client/control_client.ts";
import { openRun } from "../../src/client/exec.ts";
import { trustPair } from "../../src/ca/trust.ts";
import { parseServerUrl } from "../../src/client/server_url.ts";
import { parseCaAnswer } from "../../src/client/trust.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import { Secret } from "../../src/secret.ts";
import {
  authorizedLine,
  fingerprint,
  generateKey,
  parsePrivatePem,
  type PrivateKey,
} from "../../src/ssh/key.ts";
import { dial } from "../../src/transport/dial.ts";
import { fakeHost } from "../fakes/host.ts";
import { type Done, type Fleet, startFleet, step } from "../fixtures/fleet.ts";
import { eventually } from "../fixtures/processes.ts";

const MINUTE = 60_000;

interface AgentOptions {
  readonly aheadMs?: number;
  /** agent.toml */
  readonly settings?: string;
}

/** An agent in this process whose waits, those between heartbeats too, are thirty times shorter. */
async function startHasty(
  fleet: Fleet,
  name: string,
  { aheadMs = 0, settings }: AgentOptions = {},
): Promise<RunningAgent> {
  const home = `${fleet.scratch}/${name}`;
  if (settings !== undefined) {
    await Deno.mkdir(`${home}/agent`, { recursive: true, mode: 0o700 });
    await Deno.writeTextFile(`${home}/agent/agent.toml`, settings);
  }
  const { token } = JSON.parse((await fleet.call(["node", "token", "--json"])).out);
  const clock: Clock = {
    now: () => Date.now() + aheadMs,
    sleep: (ms, options) => systemClock.sleep(ms / 30, options),
  };
  const host = fakeHost({ clock, env: { OPENBOX_HOME: home, HOME: Deno.env.get("HOME")! } });
  const flags = { server: fleet.url, name, token, addr: "127.0.0.1:0" };
  const agent = await startAgent(await readAgentSettings(flags, host), host);
  await eventually(
    "the node is online",
    async () => (await fleet.call(["-n", name, "true"])).code === 0 || undefined,
  );
  return agent;
}

/** A CLI with a home of its own, and so with a key of its own. */
async function logIn(fleet: Fleet, name: string) {
  const home = `${fleet.scratch}/cli-${name}`, env = { OPENBOX_HOME: home };
  const call = (args: readonly string[]): Promise<Done> => fleet.call(args, { env });
  const flags = ["--server", fleet.url, "--ca-fingerprint", fleet.caFingerprint];
  const done = await fleet.call(["login", ...flags], { env, stdin: fleet.token });
  assert.equal(done.code, 0, done.err);
  return {
    call,
    async key(): Promise<PrivateKey> {
      const { key_pem } = JSON.parse(await Deno.readTextFile(`${home}/config.json`));
      return parsePrivatePem(key_pem)[0]!.key;
    },
    /** A run that goes on, with what became of it. */
    async runs(node: string) {
      const mark = `${fleet.scratch}/${crypto.randomUUID()}`;
      const child = fleet.spawn(["-n", node, `touch ${mark}; sleep 300`], {
        env: { ...fleet.env, ...env },
        stdin: "null",
      });
      const ended = child.output();
      await eventually("it runs", async () => {
        try {
          return await Deno.stat(mark);
        } catch {
          return undefined;
        }
      });
      return { child, ended };
    },
  };
}

/** A certificate that was issued before, and a try to run something with it later. */
async function dispatchNow(fleet: Fleet, node: string, key: PrivateKey) {
  const server = parseServerUrl(fleet.url);
  const control = createControlClient({ server, token: new Secret(fleet.token) });
  const answer: DispatchAnswer = await control.dispatch({
    node_id: node,
    client_pubkey: authorizedLine(key),
  });
  await control[Symbol.asyncDispose]();
  return async (addr: string): Promise<string> => {
    const deps = {
      control: { ...control, dispatch: () => Promise.resolve({ ...answer, addr }) },
      key,
      clock: systemClock,
      dial,
      checkCa: () => trustPair(parseCaAnswer(answer)),
    };
    const { signal } = new AbortController();
    try {
      await using run = await openRun({ node, isolation: undefined }, { line: "true" }, deps, {
        signal,
      });
      run.endInput();
      for (const source of [run.stdout, run.stderr]) while (await source.read() !== null);
      return (await run.end).outcome;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
}

Deno.test({
  name: "revocation",
  sanitizeResources: false, // what a fetch keeps open is the runtime's
  async fn(t) {
    await using fleet = await startFleet({ agents: [] });
    const admin = await logIn(fleet, "admin"), laptop = await logIn(fleet, "laptop");
    await Deno.stat(`${fleet.controlHome}/control/operations_key`);

    await step(
      t,
      "CERT-16, CERT-28: what a revoked key runs ends with the next heartbeat; nothing else does",
      async () => {
        let agent = await startHasty(fleet, "box");
        try {
          const theirs = await laptop.runs("box"), ours = await admin.runs("box");
          const key = await laptop.key(), use = await dispatchNow(fleet, agent.nodeId, key);
          assert.equal(await use(agent.addr), "exit");

          const id = fingerprint(key.blob);
          const done = await admin.call(["revoke", "key", id, "--reason", "stolen", "--json"]);
          assert.deepEqual([done.code, JSON.parse(done.out).id], [0, id], done.err);

          const refused = await laptop.call(["-n", "box", "true"]);
          assert.equal(refused.code, 255);
          assert.match(refused.err, /^openbox: revoked: not started: /);
          const { code, stderr } = await theirs.ended;
          assert.equal(code, 255);
          assert.match(new TextDecoder().decode(stderr), /^openbox: revoked: .*was revoked/);
          assert.equal(await use(agent.addr), "revoked");
          assert.equal((await admin.call(["-n", "box", "echo hi"])).out, "hi\n");

          ours.child.kill("SIGKILL"); // throws where it has ended
          await ours.ended;
          await agent[Symbol.asyncDispose]();
          agent = await startHasty(fleet, "box");
          assert.equal(await use(agent.addr), "revoked", "after a restart");
        } finally {
          await agent[Symbol.asyncDispose]();
        }
      },
    );

    await step(
      t,
      'CERT-28: on_revoke = "keep" lets a run go on, and nothing new begin',
      async () => {
        await using agent = await startHasty(fleet, "keeper", { settings: 'on_revoke = "keep"\n' });
        const key = generateKey(), use = await dispatchNow(fleet, agent.nodeId, key);
        const guest = await logIn(fleet, "guest"), run = await guest.runs("keeper");
        for (const one of [key, await guest.key()]) {
          await admin.call(["revoke", "key", fingerprint(one.blob)]);
        }
        await eventually(
          "it is refused",
          async () => await use(agent.addr) === "revoked" || undefined,
        );
        const still = Symbol();
        const first = await Promise.race([run.ended, systemClock.sleep(1500).then(() => still)]);
        assert.equal(first, still);
        run.child.kill("SIGKILL");
        await run.ended;
      },
    );

    for (const aheadMs of [-3 * MINUTE, 3 * MINUTE]) {
      await step(
        t,
        `CERT-16: an agent whose clock is ${aheadMs / MINUTE} minutes ahead hears of it too`,
        async () => {
          await using agent = await startHasty(fleet, `clock${aheadMs}`, { aheadMs });
          const key = generateKey(), use = await dispatchNow(fleet, agent.nodeId, key);
          assert.equal(await use(agent.addr), "exit");
          await admin.call(["revoke", "key", fingerprint(key.blob)]);
          await eventually(
            "it is refused",
            async () => await use(agent.addr) === "revoked" || undefined,
          );
        },
      );
    }

    await step(t, "openbox nodes says how fresh a node's list is", async () => {
      await using _agent = await startHasty(fleet, "shown");
      const shown = await eventually("it told", async () => {
        const { nodes } = JSON.parse((await admin.call(["nodes", "--json"])).out);
        const node = nodes.find(({ name }: { name: string }) => name === "shown");
        return node.revocations ?? undefined;
      });
      assert.equal(shown.stale, false);
      assert.ok(shown.age_seconds <= 60 && shown.version > 0, JSON.stringify(shown));
      assert.match((await admin.call(["nodes"])).out, /REVOCATIONS\n/);
    });

    await step(t, "CERT-28: with a user everything of his ends, his sessions too", async () => {
      await using agent = await startHasty(fleet, "last");
      const use = await dispatchNow(fleet, agent.nodeId, generateKey());
      assert.equal((await admin.call(["-n", "last", "-s", "build", "true"])).code, 0);
      const run = await admin.runs("last");
      assert.equal((await admin.call(["revoke", "user", "me"])).code, 0);
      const after = await admin.call(["-n", "last", "true"]);
      assert.deepEqual([after.code, after.err.split(":")[1]], [255, " unauthorized"]);
      assert.equal((await run.ended).code, 255);
      assert.equal(await use(agent.addr), "revoked");
      await eventually("its session is ended", async () => {
        const dir = `${fleet.scratch}/last/agent/sessions`;
        const left = await Array.fromAsync(Deno.readDir(dir));
        return left.length === 0 || undefined;
      });
    });
  },
});
