import assert from "node:assert/strict";
import { LiveNode } from "../../../src/agent/node.ts";
import { readNodeState, writeNodeState } from "../../../src/agent/state.ts";
import type { OpenboxError } from "../../../src/errors.ts";
import { privatePem } from "../../../src/ssh/key.ts";
import { aState } from "./world.ts";

async function inDirectory(body: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(`${dir}/agent/agent.json`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const comparable = async (path: string) => {
  const state = (await readNodeState(path))!;
  return {
    ...state,
    hostKey: privatePem(state.hostKey).length,
    nodeToken: state.nodeToken.reveal(),
  };
};

Deno.test("a state reads back as it was written, in a file that nobody else can open", () =>
  inDirectory(async (path) => {
    assert.equal(await readNodeState(path), undefined);
    const state = await aState({ tlsCa: "PEM", insecureHttp: true });
    await writeNodeState(path, state);
    assert.deepEqual(await comparable(path), {
      ...state,
      hostKey: privatePem(state.hostKey).length,
      nodeToken: "obn_token",
      ca: {
        host: { ...state.ca.host, keys: state.ca.host.keys.map(pub) },
        user: { ...state.ca.user, keys: state.ca.user.keys.map(pub) },
      },
      hostCert: { ...state.hostCert, blob: new Uint8Array(state.hostCert.blob) },
    });
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    const { ca_pubkey, user_ca_pubkey } = JSON.parse(await Deno.readTextFile(path));
    assert.equal(ca_pubkey, user_ca_pubkey);
  }));

const pub = ({ raw, blob }: { raw: Uint8Array; blob: Uint8Array }) => ({ raw, blob });

Deno.test("CFG-2: a change is on disk before it is used, whole, and leaves no other file", () =>
  inDirectory(async (path) => {
    const node = new LiveNode(path, await aState());
    await node.update({ name: "other" });
    assert.equal(node.state.name, "other");
    assert.equal((await readNodeState(path))?.name, "other");
    await node.remove();
    assert.ok((await readNodeState(path))?.removed);
    const names = await Array.fromAsync(Deno.readDir(path.replace("/agent.json", "")));
    assert.deepEqual(names.map(({ name }) => name), ["agent.json"]);
  }));

Deno.test("a removal holds also where it cannot be written", async () => {
  const node = new LiveNode("/proc/no/such/agent.json", await aState());
  await assert.rejects(node.remove(), { code: "bad_file" });
  assert.ok(node.state.removed);
});

Deno.test("CFG-4: a file that is not ours in every part is named with its remedy and left alone", () =>
  inDirectory(async (path) => {
    await writeNodeState(path, await aState());
    const good = await Deno.readTextFile(path);
    const go = {
      server: "http://x",
      node_id: "node_1",
      ca_pubkey: "k",
      host_cert: "c",
      host_key_pem: "p",
    };
    const change = (fields: Record<string, unknown>) =>
      JSON.stringify({ ...JSON.parse(good), ...fields });
    const cases: [string, RegExp][] = [
      ["", /it is empty/],
      [good.slice(0, good.length / 2), /only a part of it/],
      ["\0\0\0", /not JSON/],
      ["[]", /not a node's state/],
      ["null", /not a node's state/],
      [`\ufeff${good}`, /byte order mark/],
      [good.replaceAll("\n", "\r\n"), /CR LF/],
      [change({ version: 2 }), /a newer openbox wrote it \(version 2\)/],
      [JSON.stringify(go), /written in Go/],
      [change({ node_token: undefined }), /node_token/],
      [change({ host_key_pem: "no key" }), /not an OpenSSH private key/],
      [change({ host_cert: "ssh-ed25519 AAAA" }), /Cannot use/],
      [change({ server: "box" }), /its server/],
    ];
    for (const [text, why] of cases) {
      await Deno.writeTextFile(path, text);
      await assert.rejects(
        readNodeState(path),
        (error: OpenboxError) =>
          error.code === "bad_file" && why.test(error.message) && error.message.includes(path) &&
          /^mv .*agent\.json/.test(error.hint!) &&
          !`${error.message}${error.hint}`.includes("obn_"),
        String(why),
      );
      assert.equal(await Deno.readTextFile(path), text);
    }
  }));

Deno.test("CFG-1: a state that others can open is refused with the command", () =>
  inDirectory(async (path) => {
    await writeNodeState(path, await aState());
    await Deno.chmod(path, 0o644);
    await assert.rejects(readNodeState(path), { code: "unsafe_file", hint: `chmod 600 ${path}` });
  }));
