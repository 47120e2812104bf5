import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  authorizedLine,
  fingerprint,
  generateKey,
  parseAuthorizedLine,
  parsePrivatePem,
  parsePublicBlob,
  privatePem,
  signBytes,
  verifyBytes,
} from "../../../src/ssh/key.ts";
import { certificateLine } from "../../../src/ssh/certificate.ts";
import { createIdentities } from "../../fixtures/ssh.ts";
import { MalformedError, str } from "../../../src/ssh/wire.ts";

Deno.test("a private key survives its file, comment and all", () => {
  const key = generateKey();
  const [read, ...more] = parsePrivatePem(privatePem(key, "openbox-host-ca"));
  assert.equal(more.length, 0);
  assert.equal(read!.comment, "openbox-host-ca");
  assert.deepEqual(read!.key.blob, key.blob);
  const message = new Uint8Array([1, 2, 3]);
  assert.ok(verifyBytes(message, signBytes(message, read!.key), key));
});

Deno.test("two keys in one text are read in order, with CRLF too", () => {
  const first = generateKey(), second = generateKey();
  const text = privatePem(first, "a") + privatePem(second, "b");
  for (const form of [text, text.replaceAll("\n", "\r\n")]) {
    assert.deepEqual(parsePrivatePem(form).map(({ comment }) => comment), ["a", "b"]);
  }
});

Deno.test("text that is not one of our key files is refused", () => {
  const pem = privatePem(generateKey());
  for (
    const bad of ["x" + pem, pem + "trailing", pem.replace("OPENSSH", "RSA"), pem.slice(0, -40)]
  ) {
    assert.throws(() => parsePrivatePem(bad), MalformedError);
  }
});

Deno.test("a private key file with any byte changed is refused or is the same key", () => {
  const key = generateKey(), body = privatePem(key).split("\n").slice(1, -2).join("");
  const bytes = Buffer.from(body, "base64");
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 1;
    const pem = `-----BEGIN OPENSSH PRIVATE KEY-----\n${
      changed.toString("base64")
    }\n-----END OPENSSH PRIVATE KEY-----\n`;
    try {
      const [read] = parsePrivatePem(pem);
      assert.deepEqual(read!.key.blob, key.blob, `byte ${at}`);
    } catch (error) {
      assert.ok(error instanceof MalformedError, `byte ${at}: ${error}`);
    }
  }
});

Deno.test("CERT-8: a certificate is not a public key", () => {
  const line = certificateLine(createIdentities().userCertificate());
  assert.throws(() => parseAuthorizedLine(line), MalformedError);
  assert.throws(
    () => parseAuthorizedLine(line.replace("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519")),
    MalformedError,
  );
});

Deno.test("authorized_keys lines with options, other types, two lines or sloppy base64 are refused", () => {
  const line = authorizedLine(generateKey(), "me@here");
  assert.equal(authorizedLine(parseAuthorizedLine(line), "me@here"), line);
  const bad = [
    `command="x" ${line}`,
    line.replace("ssh-ed25519", "ssh-rsa"),
    `${line}\n${line}`,
    line.replace(" me@here", "= me@here"),
    "",
    "ssh-ed25519",
    "ssh-ed25519 !!!!",
  ];
  for (const text of bad) assert.throws(() => parseAuthorizedLine(text), MalformedError, text);
});

Deno.test("CERT-22: a signature with a non-canonical S, of another length, or zero is not one", () => {
  const key = generateKey(), message = new Uint8Array([7]);
  const good = signBytes(message, key);
  // S + L is the same number modulo the group's order, and must not pass (RFC 8032 §5.1.7)
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const s = BigInt("0x" + Buffer.from(good.subarray(32)).reverse().toString("hex")) + order;
  const high = Buffer.from(s.toString(16).padStart(64, "0"), "hex").reverse();
  assert.ok(verifyBytes(message, good, key));
  for (
    const bad of [
      Buffer.concat([good.subarray(0, 32), high]),
      good.subarray(0, 63),
      Buffer.concat([good, Buffer.alloc(1)]),
      new Uint8Array(64),
      new Uint8Array(),
    ]
  ) assert.equal(verifyBytes(message, bad, key), false);
});

Deno.test("CERT-22: a public key of small order, under which anybody can sign, is refused", () => {
  const points = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  ];
  for (const point of points) {
    const blob = Buffer.concat([str("ssh-ed25519"), str(Buffer.from(point, "hex"))]);
    assert.throws(() => parsePublicBlob(blob), MalformedError, point);
  }
});

Deno.test("a fingerprint is ssh-keygen's: SHA256, base64 without padding", () => {
  const key = parseAuthorizedLine(
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
  );
  assert.equal(fingerprint(key.blob), "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
});
