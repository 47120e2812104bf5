import assert from "node:assert/strict";
import { caFingerprint, generateCaKeys } from "../../../src/ca/keys.ts";
import { parseServerUrl } from "../../../src/client/server_url.ts";
import { checkCa, parseFingerprint } from "../../../src/client/trust.ts";
import { authorizedLine } from "../../../src/ssh/key.ts";

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
  for (const pin of [{ kind: "keys", keys }, { kind: "fingerprint", fingerprint }] as const) {
    for (const server of [near, tls, far]) {
      assert.deepEqual(checkCa(answer(), pin, server).host.raw, keys.host.raw);
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
  assert.equal(checkCa(answer(), none, near).user.raw.length, 32);
  assert.equal(checkCa(answer(), none, tls).user.raw.length, 32);
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
