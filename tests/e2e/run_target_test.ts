/** Where a run goes, and what it is not sent to: docs/fidelity.md RUN-23, RUN-24, security CERT-25, CERT-26. */
import assert from "node:assert/strict";
import { generateCaKeys } from "../../src/ca/keys.ts";
import { authorizedLine } from "../../src/ssh/key.ts";
import { startFleet, step } from "../fixtures/fleet.ts";

Deno.test("where a run goes", async (t) => {
  await using fleet = await startFleet({
    agents: [{ name: "box", tags: ["box", "linux"] }, { name: "mini", tags: ["linux"] }],
  });
  const [box, mini] = fleet.agents;

  /** Refused as not started, within two seconds, with a word of what there is. */
  const refused = async (args: string[], message: RegExp) => {
    const from = Date.now();
    const { code, out, err } = await fleet.call(args);
    assert(Date.now() - from < 2000);
    assert.deepEqual([code, out], [255, ""]);
    assert.match(err, message);
  };

  await step(t, "a node is found by tag, name and id; the same one each time", async () => {
    const id = async (...args: string[]) =>
      (await fleet.call([...args, "echo $OPENBOX_NODE"])).out.trim();
    assert.equal(await id("-n", "mini"), mini!.nodeId);
    assert.equal(await id("-n", box!.nodeId), box!.nodeId);
    assert.equal(await id("-t", "linux"), box!.nodeId);
    assert.equal(await id("-t", "linux"), box!.nodeId);
  });

  await step(
    t,
    "RUN-23: no such tag, no such node, no target: refused with what there is",
    async () => {
      await refused(
        ["-t", "gpu", "true"],
        /^openbox: node_not_found: not started: no node matches tag "gpu"\n {2}hint: .*box.*linux/,
      );
      await refused(
        ["-n", "nobody", "true"],
        /^openbox: node_not_found: .*\n {2}hint: .*box.*mini/,
      );
      await refused(
        ["-n", "node_ffffffffffffffff", "true"],
        /^openbox: node_not_found: not started/,
      );
      await refused(["--", "true"], /^openbox: target_required: not started: .*\n {2}hint: .*mini/);
    },
  );

  await step(t, "RUN-23: an agent that is gone: nothing listens, not started", async () => {
    const gone = await fleet.addAgent({ name: "gone", tags: ["gone"] });
    gone.kill("SIGKILL");
    await gone.ended;
    await refused(
      ["-n", "gone", "true"],
      /^openbox: node_unreachable: not started: Cannot reach the node gone: nothing listens on 127/,
    );
  });

  await step(t, "CERT-25: another machine at the node's address gets no command", async () => {
    const first = await fleet.addAgent({ name: "first", tags: ["moved"] });
    const { nodes } = JSON.parse((await fleet.call(["nodes", "--json"])).out);
    const { addr } = nodes.find((node: { id: string }) => node.id === first.nodeId);
    first.kill("SIGKILL");
    await first.ended;
    await fleet.addAgent({ name: "second", env: { OPENBOX_AGENT_ADDR: addr } });
    const file = `${fleet.scratch}/ran`;
    await refused(
      ["-n", "first", `touch ${file}`],
      /^openbox: host_key_mismatch: not started: The machine that answered is not node_/,
    );
    await assert.rejects(Deno.stat(file), Deno.errors.NotFound);
  });

  await step(
    t,
    "CERT-26: a CA that is not the pinned one is refused, with the way to accept it",
    async () => {
      const path = `${fleet.home}/config.json`, kept = await Deno.readTextFile(path);
      const file = `${fleet.scratch}/ran`;
      for (const which of ["host_ca_pubkey", "user_ca_pubkey"]) {
        const other = authorizedLine(generateCaKeys().host);
        await Deno.writeTextFile(path, JSON.stringify({ ...JSON.parse(kept), [which]: other }));
        await refused(
          ["-t", "box", `touch ${file}`],
          /^openbox: ca_changed: not started: .*\n {2}hint: .*openbox login --server .* --ca-fingerprint SHA256:/,
        );
      }
      await Deno.writeTextFile(path, kept);
      await assert.rejects(Deno.stat(file), Deno.errors.NotFound);
    },
  );

  await step(
    t,
    "with a server and a token alone the CA is believed over loopback, and said so; a fingerprint pins it",
    async () => {
      const env = {
        OPENBOX_HOME: "/proc/none",
        OPENBOX_SERVER: fleet.url,
        OPENBOX_TOKEN: fleet.token,
      };
      const believed = await fleet.call(["-t", "box", "echo hi"], { env });
      assert.deepEqual([believed.code, believed.out], [0, "hi\n"]);
      assert(believed.err.startsWith("openbox: warning: believing the CA "), believed.err);
      assert(believed.err.includes(`OPENBOX_CA_FINGERPRINT=${fleet.caFingerprint}`));
      const pinned = { ...env, OPENBOX_CA_FINGERPRINT: fleet.caFingerprint };
      const good = await fleet.call(["-t", "box", "echo hi"], { env: pinned });
      assert.deepEqual([good.code, good.err], [0, ""]);
      const other = { ...env, OPENBOX_CA_FINGERPRINT: `SHA256:${"A".repeat(43)}` };
      const bad = await fleet.call(["-t", "box", "echo hi"], { env: other });
      assert.equal(bad.code, 255);
      assert.match(bad.err, /^openbox: ca_changed: not started: /);
    },
  );

  await step(t, "the first run makes the key, and the next ones use it", async () => {
    const { key_pem } = JSON.parse(await Deno.readTextFile(`${fleet.home}/config.json`));
    assert.match(key_pem, /^-----BEGIN OPENSSH PRIVATE KEY-----\n/);
    await fleet.call(["-t", "box", "true"]);
    assert.equal(JSON.parse(await Deno.readTextFile(`${fleet.home}/config.json`)).key_pem, key_pem);
  });
});
