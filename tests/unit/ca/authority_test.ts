import assert from "node:assert/strict";
import {
  type CertAuthority,
  createCertAuthority,
  type UserCertRequest,
} from "../../../src/ca/authority.ts";
import { caFingerprint, formatCaKeys, generateCaKeys, parseCaRing } from "../../../src/ca/keys.ts";
import { verifyHostCert, verifyUserCert } from "../../../src/ca/verifier.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import { parseCertificate } from "../../../src/ssh/certificate.ts";
import { fingerprint, generateKey, privatePem } from "../../../src/ssh/key.ts";

const keys = generateCaKeys();
const NOW = Date.UTC(2026, 5, 1);

function authority(): CertAuthority {
  let serial = 0n;
  return createCertAuthority({ keys, nextSerial: () => Promise.resolve(++serial) });
}

const request = (change: Partial<UserCertRequest> = {}): UserCertRequest => ({
  key: generateKey(),
  userId: "usr_000000000001",
  userName: "me",
  accountId: "acc_1",
  nodeId: "node_1",
  now: NOW,
  ...change,
});

Deno.test("CERT-1: what the authority issues, the verifier believes: from five minutes before to five after", async () => {
  const { blob } = await authority().issueUserCert(
    request({ isolation: "docker:busybox", login: "build" }),
  );
  const verify = (now: number) =>
    verifyUserCert(blob, {
      authorities: [keys.user],
      username: "me",
      accountId: "acc_1",
      nodeId: "node_1",
      now,
      remoteAddress: "::1",
    });
  for (const offset of [-299_000, 0, 299_000]) {
    const proof = verify(NOW + offset);
    assert.deepEqual([proof.isolation, proof.login, proof.session], [
      "docker:busybox",
      "build",
      undefined,
    ]);
  }
  for (const offset of [-301_000, 301_000]) assert.throws(() => verify(NOW + offset));
});

Deno.test("CERT-24: a host certificate's only principal is the node id", async () => {
  const host = generateKey();
  const { blob } = await authority().issueHostCert({ key: host, nodeId: "node_1", now: NOW });
  assert.deepEqual(parseCertificate(blob).principals, ["node_1"]);
  assert.deepEqual(
    verifyHostCert(blob, { authorities: [keys.host], nodeId: "node_1", now: NOW + 29 * 86_400_000 })
      .key
      .blob,
    host.blob,
  );
});

Deno.test("CERT-10: a name that could be read as another is never certified", async () => {
  for (
    const userName of [
      "",
      "a,b",
      "a b",
      "a\nb",
      "a\0",
      "*",
      "né",
      "me\u202e",
      "x".repeat(65),
      "../x",
    ]
  ) {
    await assert.rejects(
      authority().issueUserCert(request({ userName })),
      TypeError,
      JSON.stringify(userName),
    );
  }
  await assert.rejects(
    authority().issueHostCert({ key: generateKey(), nodeId: "node_1,node_2", now: NOW }),
    TypeError,
  );
});

Deno.test("CERT-29: every certificate has its own serial", async () => {
  const ca = authority();
  const serials = await Promise.all(
    Array.from({ length: 100 }, async () => (await ca.issueUserCert(request())).serial),
  );
  assert.equal(new Set(serials).size, 100);
});

Deno.test("a CA's two keys survive their text, and only such a text is read", () => {
  const pem = formatCaKeys(keys);
  const read = parseCaRing(pem, "test");
  assert.deepEqual([read.host.length, read.user.length], [1, 1]);
  assert.equal(
    caFingerprint({ host: read.host[0]!, user: read.user[0]! }),
    caFingerprint(keys),
  );
  assert.equal(caFingerprint(keys), fingerprint(keys.host.blob, keys.user.blob));
  const single = privatePem(keys.host, "openbox-host-ca");
  const bad = [
    single,
    pem.reveal() + single,
    single + privatePem(keys.user, "other"),
    privatePem(keys.host, "openbox-host-ca").repeat(2),
    "",
    "garbage",
    pem.reveal().slice(0, 500),
  ];
  for (const text of bad) {
    assert.throws(
      () => parseCaRing(new Secret(text), "FILE"),
      (error) =>
        error instanceof OpenboxError && error.code === "bad_file" &&
        error.message.includes("FILE") && error.hint!.includes("ca-keygen"),
    );
  }
});

Deno.test("the text of the CA's keys is a secret", () => {
  assert.equal(
    `${formatCaKeys(keys)} ${JSON.stringify(formatCaKeys(keys))} ${
      Deno.inspect(formatCaKeys(keys))
    }`,
    '[secret] "[secret]" [secret]',
  );
});
