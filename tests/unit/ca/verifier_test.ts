import assert from "node:assert/strict";
import type { Code } from "../../../src/errors.ts";
import {
  CertificateRefused,
  type UserCertPolicy,
  verifyHostCert,
  verifyUserCert,
} from "../../../src/ca/verifier.ts";
import type { CertificateFields } from "../../../src/ssh/certificate.ts";
import { signCertificate } from "../../../src/ssh/certificate.ts";
import { Buffer } from "node:buffer";
import { generateKey, signBytes } from "../../../src/ssh/key.ts";
import { str, u32, u64 } from "../../../src/ssh/wire.ts";

const userCa = generateKey(), hostCa = generateKey(), user = generateKey(), node = generateKey();
const NOW = Date.UTC(2026, 5, 1), SECONDS = BigInt(NOW / 1000);
const ACCOUNT = "acc_000000000001", NODE = "node_0123456789abcdef";

const options = (change: Record<string, string | undefined> = {}): Map<string, string> => {
  const all = { "openbox-account@openbox.io": ACCOUNT, "openbox-node@openbox.io": NODE, ...change };
  return new Map(
    Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
};

const userFields = (change: Partial<CertificateFields> = {}): CertificateFields => ({
  kind: "user",
  key: user,
  serial: 7n,
  keyId: "usr_000000000001",
  principals: ["me"],
  validAfter: SECONDS - 300n,
  validBefore: SECONDS + 300n,
  critical: options(),
  extensions: new Map([["permit-pty", ""]]),
  ...change,
});

const hostFields = (change: Partial<CertificateFields> = {}): CertificateFields =>
  userFields({
    kind: "host",
    key: node,
    principals: [NODE],
    critical: new Map(),
    extensions: new Map(),
    validBefore: SECONDS + 86_400n,
    ...change,
  });

const policy = (change: Partial<UserCertPolicy> = {}): UserCertPolicy => ({
  authorities: [userCa],
  username: "me",
  accountId: ACCOUNT,
  nodeId: NODE,
  now: NOW,
  remoteAddress: "10.1.2.3",
  ...change,
});

function refused(code: Code, ours: boolean, check: () => unknown, name?: string): void {
  assert.throws(
    check,
    (error) => error instanceof CertificateRefused && error.code === code && error.ours === ours,
    name,
  );
}

const verify = (fields: CertificateFields, change: Partial<UserCertPolicy> = {}, by = userCa) =>
  verifyUserCert(signCertificate(fields, by), policy(change));

Deno.test("CERT-1: a good certificate, on its node, in its account, is a verified user", () => {
  const proof = verify(
    userFields({
      critical: options({
        "openbox-isolation@openbox.io": "native",
        "openbox-session@openbox.io": "build",
      }),
    }),
  );
  const { userId, userName, accountId, nodeId, serial, isolation, session, login, permitPty } =
    proof;
  assert.deepEqual(
    { userId, userName, accountId, nodeId, serial, isolation, session, login, permitPty },
    {
      userId: "usr_000000000001",
      userName: "me",
      accountId: ACCOUNT,
      nodeId: NODE,
      serial: 7n,
      isolation: "native",
      session: "build",
      login: undefined,
      permitPty: true,
    },
  );
});

Deno.test("CERT-2: a certificate of another account, or of none, is refused", () => {
  for (const account of ["acc_000000000002", "", undefined, `${ACCOUNT} `]) {
    refused(
      "cert_wrong_account",
      true,
      () => verify(userFields({ critical: options({ "openbox-account@openbox.io": account }) })),
      account,
    );
  }
});

Deno.test("CERT-3: a certificate for another node, or for none, is refused", () => {
  for (const id of ["node_ffffffffffffffff", "", undefined]) {
    refused(
      "cert_wrong_node",
      true,
      () => verify(userFields({ critical: options({ "openbox-node@openbox.io": id }) })),
      id,
    );
  }
});

Deno.test("CERT-6: a host certificate is no user certificate, nor the reverse", () => {
  refused("cert_refused", true, () => verify(userFields({ kind: "host" })));
  refused(
    "host_key_mismatch",
    true,
    () =>
      verifyHostCert(signCertificate(hostFields({ kind: "user" }), hostCa), {
        authorities: [hostCa],
        nodeId: NODE,
        now: NOW,
      }),
  );
});

Deno.test("CERT-6: the host CA vouches for no user, the user CA for no host", () => {
  refused("cert_refused", false, () => verify(userFields(), {}, hostCa));
  refused(
    "host_key_mismatch",
    false,
    () =>
      verifyHostCert(signCertificate(hostFields(), userCa), {
        authorities: [hostCa],
        nodeId: NODE,
        now: NOW,
      }),
  );
});

Deno.test("CERT-9: 1 to 8 principals are taken, none and more are refused", () => {
  const names = (count: number) =>
    ["me", ...Array.from({ length: count - 1 }, (_, i) => `x${i}`)].slice(0, count);
  for (const count of [1, 2, 8]) verify(userFields({ principals: names(count) }));
  for (const count of [0, 9, 256]) {
    refused("cert_wrong_principal", true, () => verify(userFields({ principals: names(count) })));
  }
  refused("cert_refused", false, () => verify(userFields({ principals: names(257) })));
});

Deno.test("CERT-10: principals are compared byte for byte: not split, trimmed, folded or normalised", () => {
  const lookalikes = [
    "me,root",
    "me ",
    " me",
    "me\n",
    "me\0",
    "ME",
    "*",
    "m\u0435",
    "m\u{65}\u0301",
    "",
    "me".repeat(32_768 / 2),
  ];
  for (const principal of lookalikes) {
    const code = principal.length > 16_000 ? "cert_refused" : "cert_wrong_principal";
    refused(
      code,
      principal.length <= 16_000,
      () => verify(userFields({ principals: [principal] })),
      JSON.stringify(principal.slice(0, 20)),
    );
  }
  // the user name that the peer claims is not folded either
  refused("cert_wrong_principal", true, () => verify(userFields(), { username: "me,root" }));
});

Deno.test("CERT-11: expired by a second, not yet valid, backwards and for ever are refused", () => {
  verify(userFields({ validBefore: SECONDS + 1n }));
  refused("cert_expired", true, () => verify(userFields({ validBefore: SECONDS })));
  refused("cert_expired", true, () => verify(userFields({ validBefore: SECONDS - 1n })));
  refused("clock_skew", true, () => verify(userFields({ validAfter: SECONDS + 1n })));
  refused(
    "cert_too_long",
    true,
    () => verify(userFields({ validAfter: SECONDS + 10n, validBefore: SECONDS - 10n })),
  );
  refused("cert_too_long", true, () => verify(userFields({ validBefore: 2n ** 64n - 1n })));
  refused(
    "cert_too_long",
    true,
    () => verify(userFields({ validAfter: 0n, validBefore: 2n ** 64n - 1n })),
  );
});

Deno.test("CERT-12: a life above ten minutes is refused, whoever signed it; for hosts thirty days", () => {
  verify(userFields({ validAfter: SECONDS - 300n, validBefore: SECONDS + 300n }));
  refused(
    "cert_too_long",
    true,
    () => verify(userFields({ validAfter: SECONDS - 300n, validBefore: SECONDS + 301n })),
  );
  refused("cert_too_long", true, () => verify(userFields({ validBefore: SECONDS + 86_400n })));
  const host = (days: bigint) =>
    verifyHostCert(
      signCertificate(
        hostFields({ validAfter: SECONDS, validBefore: SECONDS + days * 86_400n }),
        hostCa,
      ),
      { authorities: [hostCa], nodeId: NODE, now: NOW },
    );
  host(30n);
  refused("cert_too_long", true, () => host(31n));
});

Deno.test("CERT-13: unknown, repeated, unsorted or padded critical options are refused", () => {
  refused(
    "cert_unknown_option",
    true,
    () => verify(userFields({ critical: options({ "openbox-new@openbox.io": "1" }) })),
  );
  refused(
    "cert_unknown_option",
    true,
    () => verify(userFields({ critical: options({ "verify-required": "" }) })),
  );
  const raw = (...pairs: (readonly [string, Uint8Array])[]) => rawCritical(pairs);
  const account: [string, Uint8Array] = ["openbox-account@openbox.io", str(ACCOUNT)],
    node: [string, Uint8Array] = ["openbox-node@openbox.io", str(NODE)];
  verifyUserCert(raw(account, node), policy());
  for (
    const [name, blob] of [
      ["twice", raw(account, account, node)],
      ["unsorted", raw(node, account)],
      [
        "trailing bytes",
        raw(account, ["openbox-node@openbox.io", new Uint8Array([...str(NODE), 0])]),
      ],
      [
        "a length beyond its value",
        raw(account, ["openbox-node@openbox.io", new Uint8Array([0, 0, 0, 99, 1])]),
      ],
      ["an empty name", raw(["", str("")], account, node)],
    ] as const
  ) {
    assert.throws(() => verifyUserCert(blob, policy()), CertificateRefused, name);
  }
});

/** A certificate with critical options in exactly this order and form, signed by the user CA. */
function rawCritical(pairs: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const { key, serial, keyId, principals, validAfter, validBefore } = userFields();
  const signed = Buffer.concat([
    str("ssh-ed25519-cert-v01@openssh.com"),
    str(new Uint8Array(32)),
    str(key.raw),
    u64(serial),
    u32(1),
    str(keyId),
    str(Buffer.concat(principals.map(str))),
    u64(validAfter),
    u64(validBefore),
    str(Buffer.concat(pairs.flatMap(([name, data]) => [str(name), str(data)]))),
    str(""),
    str(""),
    str(userCa.blob),
  ]);
  return Buffer.concat([
    signed,
    str(Buffer.concat([str("ssh-ed25519"), str(signBytes(signed, userCa))])),
  ]);
}

Deno.test("CERT-15: a forced command is in the proof, for the one who runs it", () => {
  const proof = verify(userFields({ critical: options({ "force-command": "uptime" }) }));
  assert.equal(proof.forceCommand, "uptime");
});

Deno.test("source-address is enforced: single addresses, blocks, both families, and nothing else", () => {
  const from = (list: string, remoteAddress: string) => () =>
    verify(userFields({ critical: options({ "source-address": list }) }), { remoteAddress });
  for (
    const [list, address] of [
      ["10.1.2.3", "10.1.2.3"],
      ["10.0.0.0/8", "10.1.2.3"],
      ["192.168.0.0/16,10.0.0.0/8", "::ffff:10.1.2.3"],
      ["fd00::/8", "fd00::1"],
      ["0.0.0.0/0", "1.2.3.4"],
    ] as const
  ) from(list, address)();
  for (
    const [list, address] of [
      ["10.1.2.4", "10.1.2.3"],
      ["11.0.0.0/8", "10.1.2.3"],
      ["", "10.1.2.3"],
      ["10.0.0.0/8,", "10.1.2.3"],
      ["10.0.0.0/33", "10.1.2.3"],
      ["10.0.0.0/-1", "10.1.2.3"],
      ["10.0.0.0/8/8", "10.1.2.3"],
      ["*", "10.1.2.3"],
      ["10.0.0.0/8", "fd00::1"],
      ["10.0.0.0/8", ""],
    ] as const
  ) refused("cert_refused", true, from(list, address), `${list} from ${address}`);
});

Deno.test("a certificate of another CA is refused without a reason, even where it names ours", () => {
  const stranger = generateKey();
  refused("cert_refused", false, () => verify(userFields(), {}, stranger));
  const forged = Buffer.from(signCertificate(userFields(), stranger));
  forged.set(userCa.blob, forged.indexOf(stranger.blob));
  refused("cert_refused", false, () => verifyUserCert(forged, policy()));
});

Deno.test("CERT-25: a host certificate must be for exactly the node that was asked for", () => {
  const host = (change: Partial<CertificateFields>, by = hostCa) => () =>
    verifyHostCert(signCertificate(hostFields(change), by), {
      authorities: [hostCa],
      nodeId: NODE,
      now: NOW,
    });
  assert.deepEqual(host({})().key.blob, node.blob);
  refused("host_key_mismatch", true, host({ principals: [] }));
  refused("host_key_mismatch", true, host({ principals: ["node_ffffffffffffffff"] }));
  refused("host_key_mismatch", true, host({ principals: [NODE, "node_ffffffffffffffff"] }));
  refused("host_key_mismatch", true, host({ critical: new Map([["x@y", ""]]) }));
  refused("host_key_mismatch", false, host({}, generateKey()));
  refused("host_cert_expired", true, host({ validBefore: SECONDS }));
  refused("clock_skew", true, host({ validAfter: SECONDS + 1n }));
});

Deno.test("whatever is not a certificate is refused as one that cannot be read", () => {
  for (
    const bytes of [
      new Uint8Array(),
      new Uint8Array(1),
      crypto.getRandomValues(new Uint8Array(500)),
      user.blob,
      new Uint8Array(20_000),
    ]
  ) {
    refused("cert_refused", false, () => verifyUserCert(bytes, policy()));
  }
});
