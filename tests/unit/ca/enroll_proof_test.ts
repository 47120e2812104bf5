import assert from "node:assert/strict";
import { createHash, createPublicKey, verify } from "node:crypto";
import { Buffer } from "node:buffer";
import {
  formatEnrollToken,
  parseEnrollToken,
  signEnrollProof,
  verifyEnrollProof,
} from "../../../src/ca/enroll_proof.ts";
import { caFingerprint, generateCaKeys } from "../../../src/ca/keys.ts";
import { newEnrollSecret } from "../../../src/ids.ts";
import { Secret } from "../../../src/secret.ts";
import { generateKey } from "../../../src/ssh/key.ts";

const fingerprint = caFingerprint(generateCaKeys());
const TOKEN = { secret: new Secret("a".repeat(32)), fingerprint };

Deno.test("an enrollment token is read as it was written", () => {
  for (let i = 0; i < 50; i++) {
    const token = {
      secret: new Secret(newEnrollSecret()),
      fingerprint: caFingerprint(generateCaKeys()),
    };
    const text = formatEnrollToken(token).reveal();
    assert.match(text, /^enroll_[A-Za-z0-9]{32}\.[A-Za-z0-9_-]{43}$/);
    const parsed = parseEnrollToken(text)!;
    assert.equal(parsed.secret.reveal(), token.secret.reveal());
    assert.equal(parsed.fingerprint, token.fingerprint);
  }
});

Deno.test("what has not the form of a token is none", () => {
  const good = formatEnrollToken(TOKEN).reveal();
  const bad = [
    "",
    good.replace("enroll_", ""),
    good.replace("enroll_", "Enroll_"),
    good.slice(0, -1),
    `${good}a`,
    `${good}=`,
    `${good}\n`,
    ` ${good}`,
    good.replace(".", ""),
    good.replace(".", ".."),
    `enroll_.${good.split(".")[1]}`,
    `enroll_${"a".repeat(129)}.${good.split(".")[1]}`,
    `enroll_${"a".repeat(32)}`,
  ];
  for (const text of bad) assert.equal(parseEnrollToken(text), undefined, text);
});

Deno.test("the proof covers exactly what the protocol says", () => {
  const key = generateKey(), proof = Buffer.from(signEnrollProof(TOKEN, key), "base64");
  const bytes = Buffer.concat([
    Buffer.from("openbox-enroll-v1"),
    Buffer.from([0]),
    createHash("sha256").update("a".repeat(32)).digest(),
    Buffer.from(fingerprint.slice("SHA256:".length), "base64"),
    key.blob,
  ]);
  assert.equal(bytes.length, 17 + 1 + 32 + 32 + 51);
  assert.ok(verify(null, bytes, createPublicKey(key.secret), proof));
});

Deno.test("ENR-4: a proof is good for its token, its CA and its key alone", () => {
  const key = generateKey(), proof = signEnrollProof(TOKEN, key);
  assert.ok(verifyEnrollProof(proof, TOKEN, key));
  assert.ok(!verifyEnrollProof(proof, TOKEN, generateKey()));
  assert.ok(!verifyEnrollProof(proof, { ...TOKEN, secret: new Secret("b".repeat(32)) }, key));
  const otherCa = caFingerprint(generateCaKeys());
  assert.ok(!verifyEnrollProof(proof, { ...TOKEN, fingerprint: otherCa }, key));
  for (const bad of ["", "AAAA", proof.slice(4), proof.replace(/=+$/, ""), "\u00e9"]) {
    assert.ok(!verifyEnrollProof(bad, TOKEN, key), bad);
  }
});

Deno.test("a token does not show", () => {
  assert.doesNotMatch(Deno.inspect(TOKEN) + JSON.stringify(TOKEN), /aaaa/);
});
