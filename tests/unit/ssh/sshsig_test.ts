import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { utf8 } from "../../../src/bytes.ts";
import { generateKey } from "../../../src/ssh/key.ts";
import {
  MAX_SIGNATURE_LENGTH,
  SignatureError,
  signMessage,
  verifySignature,
} from "../../../src/ssh/sshsig.ts";

const key = generateKey(), MESSAGE = utf8("a release"), NAMESPACE = "test";
const good = signMessage(MESSAGE, NAMESPACE, key);
const [BEGIN, END] = ["-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"];

const blob = (): Buffer =>
  Buffer.from(good.replace(BEGIN, "").replace(END, "").replaceAll("\n", ""), "base64");
const armored = (bytes: Uint8Array): string =>
  `${BEGIN}\n${Buffer.from(bytes).toString("base64").replace(/.{70}(?=.)/g, "$&\n")}\n${END}\n`;
const verify = (
  signature: string,
  { message = MESSAGE, namespace = NAMESPACE, keys = [key] } = {},
) => verifySignature(message, signature, { namespace, keys });

function refused(signature: string, options: Parameters<typeof verify>[1], why: RegExp): void {
  assert.throws(() => verify(signature, options), (error: unknown) => {
    assert.ok(error instanceof SignatureError, String(error));
    assert.match(error.message, why);
    return true;
  });
}

Deno.test("a signature is taken with the line ends of Windows and without the last one", () => {
  assert.equal(verify(good), key);
  assert.equal(verify(good.trimEnd()), key);
  assert.equal(verify(good.replaceAll("\n", "\r\n")), key);
});

Deno.test("a signature over other bytes, by another key or for another purpose says which", () => {
  refused(good, { message: utf8("a Release") }, /not over these bytes/);
  refused(good, { keys: [generateKey()] }, /by another key, SHA256:/);
  refused(good, { keys: [] }, /by another key/);
  refused(good, { namespace: "file" }, /another purpose, "test"/);
  refused(good, { namespace: "" }, /another purpose/);
});

Deno.test("each bit of a signature counts, and each length", () => {
  const whole = blob();
  for (let at = 0; at < whole.length; at++) {
    const bent = Buffer.from(whole);
    bent[at]! ^= 1 << (at % 8);
    assert.throws(() => verify(armored(bent)), SignatureError, `byte ${at}`);
    assert.throws(() => verify(armored(whole.subarray(0, at))), SignatureError, `cut at ${at}`);
  }
  assert.throws(() => verify(armored(Buffer.concat([whole, Buffer.of(0)]))), SignatureError);
});

Deno.test("what is no signature at all is refused, and what is too long is not read", () => {
  for (const text of ["", "hello", BEGIN, `${BEGIN}\n${END}`, `x${good}`, `${good}${good}`]) {
    refused(text, {}, /no signature that can be read/);
  }
  refused(good.replace("\n", "\n ".repeat(MAX_SIGNATURE_LENGTH)), {}, /too long/);
  refused(good.replace(`\n${END}`, `=\n${END}`), {}, /not canonical/);
});
