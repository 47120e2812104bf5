import assert from "node:assert/strict";
import { caFingerprint, generateCaKeys } from "../../../src/ca/keys.ts";
import { signCaChange, trustPair } from "../../../src/ca/trust.ts";
import { parseServerUrl } from "../../../src/client/server_url.ts";
import { type CaPin, checkCa, parseFingerprint } from "../../../src/client/trust.ts";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";

const keys = generateCaKeys(), other = generateCaKeys();
const answer = (host = keys.host, user = keys.user) => ({
  host_ca_pubkey: authorizedLine(host),
  user_ca_pubkey: authorizedLine(user),
});
const near = parseServerUrl("http://127.0.0.1:8080");
const tls = parseServerUrl("https://box.example.com");
const far = parseServerUrl("http://10.0.0.4:8080");

Deno.test("CERT-26: pinned keys and a pinned fingerprint let nothing but themselves pass", () => {
  const fingerprint = caFingerprint(keys);
  const pins = [{ kind: "trust", trust: trustPair(keys) }, {
    kind: "fingerprint",
    fingerprint,
  }] as const;
  for (const pin of pins) {
    for (const server of [near, tls, far]) {
      assert.deepEqual(checkCa(answer(), pin, server).host.keys[0]!.raw, keys.host.raw);
      for (const wrong of [answer(other.host), answer(keys.host, other.user)]) {
        assert.throws(() => checkCa(wrong, pin, server), { code: "ca_changed" });
      }
      // the two keys in each other's place are another CA
      const swapped = answer(keys.user, keys.host);
      assert.throws(() => checkCa(swapped, pin, server), { code: "ca_changed" });
    }
  }
});

Deno.test("CFG-6: without a pin the CA is believed over HTTPS and loopback, and refused over plain HTTP", () => {
  const none = { kind: "none" } as const;
  assert.equal(checkCa(answer(), none, near).user.keys[0]!.raw.length, 32);
  assert.equal(checkCa(answer(), none, tls).user.keys[0]!.raw.length, 32);
  assert.throws(() => checkCa(answer(), none, far), (error: { code: string; hint: string }) => {
    assert.equal(error.code, "insecure_http");
    assert(error.hint.startsWith(`export OPENBOX_CA_FINGERPRINT=${caFingerprint(keys)} `));
    return true;
  });
});

Deno.test("a CA key that is not ed25519, or no key, is refused", () => {
  const pin = { kind: "none" } as const;
  for (const line of ["ssh-rsa AAAA", "", "x"]) {
    const wrong = { ...answer(), host_ca_pubkey: line };
    assert.throws(() => checkCa(wrong, pin, near), { code: "upgrade_required" });
  }
});

Deno.test("a fingerprint has the form that ssh-keygen prints", () => {
  const good = caFingerprint(keys);
  assert.equal(parseFingerprint(good, "--ca-fingerprint"), good);
  for (const text of ["", "SHA256:", good.slice(0, -1), `${good}=`, good.slice(7), `MD5:${good}`]) {
    assert.throws(() => parseFingerprint(text, "--ca-fingerprint"), { code: "bad_setting" });
  }
});

const next = generateKey(), late = generateKey();
const STATEMENTS = [
  signCaChange(
    { kind: "user", seq: 1, from: [keys.user], to: [keys.user, next], at: 1 },
    keys.user,
  ),
  signCaChange({ kind: "user", seq: 3, from: [keys.user, next], to: [next], at: 3 }, next),
];
const rotated = { ...answer(keys.host, next), ca_rotations: STATEMENTS };

Deno.test("ROT-1: keys that were pinned follow a rotation, and so does a fingerprint of former times", () => {
  const former = caFingerprint(keys), now = caFingerprint({ host: keys.host, user: next });
  const pins: CaPin[] = [
    { kind: "trust", trust: trustPair(keys) },
    { kind: "fingerprint", fingerprint: former },
    { kind: "fingerprint", fingerprint: now },
  ];
  for (const pin of pins) {
    const trust = checkCa(rotated, pin, tls);
    assert.deepEqual(trust.user.keys.map(({ raw }) => raw), [next.raw]);
  }
  const between = { ...answer(), ca_rotations: STATEMENTS.slice(0, 1) };
  const trust = checkCa(between, pins[0]!, tls);
  assert.deepEqual(trust.user.keys.map(({ raw }) => raw), [keys.user.raw, next.raw]);
  assert.deepEqual(checkCa(rotated, { kind: "trust", trust }, tls).user.keys.length, 1);
});

Deno.test("CERT-26: a pin is not led elsewhere, nor back", () => {
  const pins: CaPin[] = [
    { kind: "trust", trust: trustPair(keys) },
    { kind: "fingerprint", fingerprint: caFingerprint(keys) },
  ];
  const foreign = signCaChange(
    { kind: "user", seq: 1, from: [other.user], to: [late], at: 1 },
    other.user,
  );
  const bad = [
    { ...answer(keys.host, next), ca_rotations: [] },
    answer(keys.host, next),
    { ...answer(keys.host, next), ca_rotations: STATEMENTS.slice(1) },
    { ...answer(keys.host, late), ca_rotations: [...STATEMENTS, foreign] },
    { ...answer(other.host, next), ca_rotations: STATEMENTS },
    { ...answer(keys.host, late), ca_rotations: ["x", "", "a.b"] },
  ];
  for (const pin of pins) {
    for (const wrong of bad) {
      assert.throws(() => checkCa(wrong, pin, tls), { code: "ca_changed" });
    }
  }
  const followed = checkCa(rotated, pins[0]!, tls);
  for (const old of [answer(), { ...answer(), ca_rotations: STATEMENTS }]) {
    assert.throws(() => checkCa(old, { kind: "trust", trust: followed }, tls), {
      code: "ca_changed",
    });
  }
});
