import assert from "node:assert/strict";
import { createCertAuthority } from "../../../src/ca/authority.ts";
import { generateCaKeys } from "../../../src/ca/keys.ts";
import {
  formatOperationsKey,
  generateOperationsKey,
  needsOperationsCert,
  parseOperationsKey,
  type SignedStatement,
  signStatement,
  verifyStatement,
} from "../../../src/ca/operations.ts";
import { verifyHostCert } from "../../../src/ca/verifier.ts";
import { fromBase64, toBase64 } from "../../../src/bytes.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import {
  type CertificateFields,
  certificateLine,
  parseCertificate,
  parseCertificateLine,
  signCertificate,
} from "../../../src/ssh/certificate.ts";
import { generateKey, privatePem } from "../../../src/ssh/key.ts";

const DAY = 86_400_000, NOW = Date.UTC(2026, 5, 1);
const ca = generateCaKeys(), key = generateOperationsKey();
let serial = 0n;
const authority = createCertAuthority({ keys: ca, nextSerial: () => Promise.resolve(++serial) });
const { blob: certificate } = await authority.issueOperationsCert({ key, now: NOW });
const signer = { key, certificate };
const DOMAIN = "openbox-revocations-v1", PAYLOAD = '{"version":1}';
const statement = signStatement(signer, DOMAIN, PAYLOAD);

const verify = (
  change: Partial<SignedStatement> = {},
  { authorities = [ca.host], now = NOW }: {
    authorities?: readonly (typeof ca.host)[];
    now?: number;
  } = {},
) => verifyStatement({ ...statement, ...change }, { domain: DOMAIN, authorities, now });

const refused = (check: () => unknown, name?: string) =>
  assert.throws(check, (error) => error instanceof OpenboxError, name);

Deno.test("what the operations key signs is believed of whoever the host CA certified it for", () => {
  const proof = verify();
  assert.equal(proof.payload, PAYLOAD);
  assert.equal(proof.serial, parseCertificate(certificate).serial);
  // one of several while the CA is being rotated
  assert.equal(verify({}, { authorities: [generateKey(), ca.host] }).payload, PAYLOAD);
});

Deno.test("CERT-17: a statement with any byte flipped, of its text, its signature or its certificate, is refused", () => {
  const flips = (bytes: Uint8Array, mutate: (bytes: Uint8Array) => Partial<SignedStatement>) => {
    for (let at = 0; at < bytes.length; at++) {
      const flipped = new Uint8Array(bytes);
      flipped[at]! ^= 1 << at % 8;
      refused(() => verify(mutate(flipped)), `byte ${at}`);
    }
  };
  flips(
    new TextEncoder().encode(PAYLOAD),
    (bytes) => ({ payload: String.fromCharCode(...bytes) }),
  );
  flips(fromBase64(statement.signature)!, (bytes) => ({ signature: toBase64(bytes) }));
  flips(certificate, (bytes) => ({ certificate: certificateLine(bytes) }));
});

Deno.test("a statement of one kind is none of another", () => {
  refused(() =>
    verifyStatement(statement, {
      domain: "openbox-audit-head-v1",
      authorities: [ca.host],
      now: NOW,
    })
  );
});

Deno.test("no CA, another CA and the users' CA certify no operations key", () => {
  for (const authorities of [[], [generateKey()], [ca.user]]) {
    refused(() => verify({}, { authorities }));
  }
});

Deno.test("a statement is believed while its certificate is valid: 90 days", () => {
  for (const now of [NOW - 299_000, NOW, NOW + 89.9 * DAY]) verify({}, { now });
  for (const now of [NOW - 301_000, NOW + 90 * DAY, NOW + 400 * DAY]) {
    refused(() => verify({}, { now }));
  }
});

Deno.test("a node's, a user's and a strange certificate make no statements", async () => {
  const good = parseCertificate(certificate);
  const certify = (change: Partial<CertificateFields>) =>
    signCertificate({ ...good, ...change }, ca.host);
  const { blob: host } = await authority.issueHostCert({ key, nodeId: "node_1", now: NOW });
  const strange: [string, Uint8Array][] = [
    ["a node's", host],
    ["a user's kind", certify({ kind: "user" })],
    ["two names", certify({ principals: [...good.principals, "node_1"] })],
    ["no name", certify({ principals: [] })],
    ["an option", certify({ critical: new Map([["force-command", "true"]]) })],
    ["an extension", certify({ extensions: new Map([["permit-pty", ""]]) })],
    ["for too long", certify({ validBefore: good.validBefore + 1n })],
    ["for ever", certify({ validBefore: 2n ** 64n - 1n })],
  ];
  for (const [name, blob] of strange) {
    refused(() => verify({ certificate: certificateLine(blob) }), name);
  }
  for (const text of ["", "ssh-ed25519 AAAA", certificateLine(certificate).slice(0, 200)]) {
    refused(() => verify({ certificate: text }), text);
  }
  assert.deepEqual(parseCertificateLine(statement.certificate), certificate);
});

Deno.test("an operations certificate makes nobody a node", () => {
  for (const nodeId of ["openbox-operations", "node_0123456789abcdef"]) {
    refused(() => verifyHostCert(certificate, { authorities: [ca.host], nodeId, now: NOW }));
  }
});

Deno.test("another certificate is asked for at two thirds of its life, for another key and by another CA", () => {
  const needs = (now: number, change = {}) =>
    needsOperationsCert(certificate, { key, authority: ca.host, now, ...change });
  assert.equal(needs(NOW + 59 * DAY), false);
  assert.equal(needs(NOW + 60 * DAY), true);
  assert.equal(needs(NOW, { key: generateKey() }), true);
  assert.equal(needs(NOW, { authority: generateKey() }), true);
});

Deno.test("the operations key's file is read as written, also one that ssh-keygen made; nothing else is", () => {
  const pem = formatOperationsKey(key);
  assert.deepEqual(parseOperationsKey(pem, "f").raw, key.raw);
  assert.deepEqual(parseOperationsKey(new Secret(privatePem(key, "me@box")), "f").raw, key.raw);
  const two = pem.reveal() + privatePem(generateKey(), "x");
  for (const text of ["", "x", two, pem.reveal().slice(0, -40)]) {
    assert.throws(
      () => parseOperationsKey(new Secret(text), "the file"),
      (error) =>
        error instanceof OpenboxError && error.code === "bad_file" &&
        /the file/.test(error.message),
    );
  }
});
