/** Signatures over files: ssh-keygen believes ours, we believe its, and neither believes what was tampered with. */
import assert from "node:assert/strict";
import { utf8 } from "../../src/bytes.ts";
import { authorizedLine, generateKey, type PrivateKey, privatePem } from "../../src/ssh/key.ts";
import { SignatureError, signMessage, verifySignature } from "../../src/ssh/sshsig.ts";
import { requireComponent } from "../fixtures/component.ts";

const NAMESPACE = "openbox-release", MESSAGE = utf8("version 1.2.3\n");

async function keygen(
  cwd: string,
  args: readonly string[],
  stdin: Uint8Array = new Uint8Array(),
): Promise<boolean> {
  const child = new Deno.Command("ssh-keygen", {
    args: [...args],
    cwd,
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(stdin).then(() => writer.close()).catch(() => {}); // it refused before it read
  return (await child.status).success;
}

interface Signer extends AsyncDisposable {
  readonly key: PrivateKey;
  sign(message: Uint8Array, options?: readonly string[], namespace?: string): Promise<string>;
  believes(message: Uint8Array, signature: string, namespace?: string): Promise<boolean>;
}

async function openSigner(): Promise<Signer> {
  const folder = await Deno.makeTempDir(), key = generateKey();
  await Deno.writeTextFile(`${folder}/key`, privatePem(key), { mode: 0o600 });
  await Deno.writeTextFile(`${folder}/signers`, `me ${authorizedLine(key)}\n`);
  return {
    key,
    async sign(message, options = [], namespace = NAMESPACE) {
      await Deno.writeFile(`${folder}/message`, message);
      const args = ["-q", "-Y", "sign", "-f", "key", "-n", namespace, ...options, "message"];
      assert.ok(await keygen(folder, args));
      const signature = await Deno.readTextFile(`${folder}/message.sig`);
      await Deno.remove(`${folder}/message.sig`);
      return signature;
    },
    async believes(message, signature, namespace = NAMESPACE) {
      await Deno.writeTextFile(`${folder}/sig`, signature);
      const args = ["-Y", "verify", "-f", "signers", "-I", "me", "-n", namespace, "-s", "sig"];
      return await keygen(folder, args, message);
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

Deno.test(
  "a signature of ssh-keygen is believed, with either hash, and ours is the same text",
  requireComponent("ssh-keygen"),
  async () => {
    await using signer = await openSigner();
    const wanted = { namespace: NAMESPACE, keys: [generateKey(), signer.key] };
    for (const message of [MESSAGE, new Uint8Array(), new Uint8Array(100_000)]) {
      const theirs = await signer.sign(message);
      assert.deepEqual(verifySignature(message, theirs, wanted).blob, signer.key.blob);
      assert.equal(signMessage(message, NAMESPACE, signer.key), theirs);
    }
    const short = await signer.sign(MESSAGE, ["-O", "hashalg=sha256"]);
    assert.deepEqual(verifySignature(MESSAGE, short, wanted).blob, signer.key.blob);
  },
);

Deno.test(
  "ssh-keygen believes our signature, over these bytes and for this purpose only",
  requireComponent("ssh-keygen"),
  async () => {
    await using signer = await openSigner();
    const ours = signMessage(MESSAGE, NAMESPACE, signer.key);
    assert.equal(await signer.believes(MESSAGE, ours), true);
    assert.equal(await signer.believes(utf8("version 1.2.4\n"), ours), false);
    assert.equal(await signer.believes(MESSAGE, ours, "file"), false);
    const stranger = signMessage(MESSAGE, NAMESPACE, generateKey());
    assert.equal(await signer.believes(MESSAGE, stranger), false);
  },
);

Deno.test(
  "a key of another type that ssh-keygen signs with is refused",
  requireComponent("ssh-keygen"),
  async () => {
    const folder = await Deno.makeTempDir();
    try {
      await keygen(folder, ["-q", "-t", "ecdsa", "-N", "", "-f", "key"]);
      await Deno.writeFile(`${folder}/message`, MESSAGE);
      await keygen(folder, ["-q", "-Y", "sign", "-f", "key", "-n", NAMESPACE, "message"]);
      const theirs = await Deno.readTextFile(`${folder}/message.sig`);
      assert.throws(
        () => verifySignature(MESSAGE, theirs, { namespace: NAMESPACE, keys: [generateKey()] }),
        SignatureError,
      );
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);
