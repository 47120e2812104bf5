import assert from "node:assert/strict";
import { formatCaRing, generateCaKeys, ringOf } from "../../../src/ca/keys.ts";
import { openSealedCa, parseSealedCa, sealCa } from "../../../src/ca/seal.ts";
import type { OpenboxError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";

const PASSPHRASE = new Secret("correct horse battery");
const keys = generateCaKeys();
const RING = { ...ringOf(keys), user: [keys.user, generateKey()] };
const SEALED = await sealCa(RING, PASSPHRASE);

const refused = (code: string) => (error: OpenboxError) => {
  assert.equal(error.code, code);
  assert.doesNotMatch(`${error.message} ${error.hint} ${error.stack}`, /horse|PRIVATE KEY/);
  return true;
};

Deno.test("ROT-6: a sealed CA opens with its passphrase, and says in clear whose it is", async () => {
  const { ring } = await openSealedCa(SEALED, PASSPHRASE, "FILE");
  assert.equal(ring.user.length, 2);
  assert.deepEqual(ring.user.map(({ raw }) => raw), RING.user.map(({ raw }) => raw));
  const { publicKeys } = parseSealedCa(SEALED, "FILE");
  assert.deepEqual(publicKeys.host.map((key) => authorizedLine(key)), [authorizedLine(keys.host)]);
  assert.doesNotMatch(SEALED, /PRIVATE KEY/);
  const seed = keys.user.secret.export({ format: "der", type: "pkcs8" }).subarray(-32);
  for (const text of [seed.toString("base64"), seed.toString("hex")]) {
    assert(!SEALED.includes(text));
  }
  assert.notEqual(await sealCa(RING, PASSPHRASE), SEALED, "no two are alike");
});

Deno.test("ROT-6: a wrong passphrase opens nothing and is not repeated", async () => {
  for (const wrong of ["correct horse batterz", "", "x".repeat(1000)]) {
    await assert.rejects(
      openSealedCa(SEALED, new Secret(wrong), "FILE"),
      refused("wrong_passphrase"),
    );
  }
});

Deno.test("ROT-6: the passphrase is one, however its letters were composed", async () => {
  const text = await sealCa(RING, new Secret("geheimnis \u00e4\u00f6\u00fc"));
  const { ring } = await openSealedCa(text, new Secret("geheimnis a\u0308o\u0308u\u0308"), "FILE");
  assert.equal(ring.host.length, 1);
});

Deno.test("ROT-8: a sealed text that is cut or changed is refused", async () => {
  const other = authorizedLine(generateKey());
  const changed: Record<string, string> = {
    "another public key": SEALED.replace(authorizedLine(keys.host), other),
    "a key less": SEALED.replace(/Key: .* user\n/, ""),
    "a line more": SEALED.replace("Version: 1\n", "Version: 1\nNote: x\n"),
    "another nonce": SEALED.replace(/(aes-256-gcm )(.)/, (_, a, c) => a + (c === "A" ? "B" : "A")),
    "another body": SEALED.replace(/\n\n(.)/, (_, c) => `\n\n${c === "A" ? "B" : "A"}`),
  };
  for (const [what, text] of Object.entries(changed)) {
    assert.notEqual(text, SEALED, what);
    await assert.rejects(openSealedCa(text, PASSPHRASE, "FILE"), refused("wrong_passphrase"), what);
  }
  const malformed: Record<string, string> = {
    "half of it": SEALED.slice(0, SEALED.length / 2),
    "without its end": SEALED.slice(0, -5),
    "with more": `${SEALED}x`,
    "of a newer version": SEALED.replace("Version: 1", "Version: 2"),
    "by another kdf": SEALED.replace("scrypt", "argon2"),
    "for too much memory": SEALED.replace("scrypt 131072", "scrypt 9999999"),
    "by no keys": SEALED.replaceAll(/Key: .*\n/g, ""),
    "by a key that is none": SEALED.replace(authorizedLine(keys.host), "ssh-rsa AAAA"),
    "in clear": formatCaRing(RING).reveal(),
  };
  for (const [what, text] of Object.entries(malformed)) {
    await assert.rejects(openSealedCa(text, PASSPHRASE, "FILE"), refused("bad_file"), what);
  }
});

Deno.test("ROT-6: a passphrase that could be guessed seals nothing", async () => {
  for (const short of ["", "1234567"]) {
    await assert.rejects(sealCa(RING, new Secret(short)), refused("usage"));
  }
});

Deno.test("ROT-6: to make a key of a passphrase does not hold up the event loop", async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 10);
  await openSealedCa(SEALED, PASSPHRASE, "FILE");
  clearInterval(timer);
  assert.ok(turns >= 3, `${turns} turns`);
});
