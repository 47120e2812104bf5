/** What we write, ssh-keygen reads and would write; what it writes, we read. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  type CertificateFields,
  certificateLine,
  parseCertificate,
  parseCertificateLine,
  signCertificate,
} from "../../src/ssh/certificate.ts";
import {
  authorizedLine,
  fingerprint,
  generateKey,
  parseAuthorizedLine,
  parsePrivatePem,
  privatePem,
} from "../../src/ssh/key.ts";
import { Reader } from "../../src/ssh/wire.ts";
import { createCertAuthority } from "../../src/ca/authority.ts";
import { generateCaKeys } from "../../src/ca/keys.ts";
import { requireComponent } from "../fixtures/component.ts";

async function keygen(cwd: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command("ssh-keygen", {
    args,
    cwd,
    env: { TZ: "UTC" },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

const nonceOf = (blob: Uint8Array): Uint8Array => {
  const reader = new Reader(blob);
  reader.bytes();
  return reader.bytes();
};

const CASES: readonly {
  readonly name: string;
  readonly args: readonly string[];
  readonly fields: Partial<CertificateFields>;
}[] = [
  { name: "user", args: ["-n", "alice"], fields: { principals: ["alice"] } },
  {
    name: "several principals",
    args: ["-n", "alice,bob,c"],
    fields: { principals: ["alice", "bob", "c"] },
  },
  {
    name: "host",
    args: ["-h", "-n", "node_1"],
    fields: { kind: "host", principals: ["node_1"], extensions: new Map() },
  },
  {
    name: "critical options and extensions",
    args: [
      "-n",
      "a",
      "-O",
      "clear",
      "-O",
      "force-command=echo hi",
      "-O",
      "source-address=10.0.0.0/8",
      "-O",
      "permit-pty",
      "-O",
      "critical:openbox-node@openbox.io=node_1",
      "-O",
      "extension:zz@x=v",
    ],
    fields: {
      principals: ["a"],
      critical: new Map([["source-address", "10.0.0.0/8"], ["force-command", "echo hi"], [
        "openbox-node@openbox.io",
        "node_1",
      ]]),
      extensions: new Map([["zz@x", "v"], ["permit-pty", ""]]),
    },
  },
];

for (const { name, args, fields } of CASES) {
  Deno.test(
    `a certificate is byte for byte what ssh-keygen -s writes: ${name}`,
    requireComponent("ssh-keygen"),
    async () => {
      const dir = await Deno.makeTempDir();
      try {
        const ca = generateKey(), user = generateKey();
        await Deno.writeTextFile(`${dir}/ca`, privatePem(ca), { mode: 0o600 });
        await Deno.writeTextFile(`${dir}/id.pub`, authorizedLine(user) + "\n");
        await keygen(
          dir,
          "-q",
          "-s",
          "ca",
          "-I",
          "key id",
          "-z",
          "18446744073709551615",
          "-V",
          "20260101000000Z:20260101001000Z",
          ...args,
          "id.pub",
        );
        const theirs = parseCertificateLine(await Deno.readTextFile(`${dir}/id-cert.pub`));
        const standard = [
          "permit-X11-forwarding",
          "permit-agent-forwarding",
          "permit-port-forwarding",
          "permit-pty",
          "permit-user-rc",
        ];
        const ours = signCertificate(
          {
            kind: "user",
            key: user,
            serial: 2n ** 64n - 1n,
            keyId: "key id",
            principals: [],
            validAfter: BigInt(Date.UTC(2026, 0, 1) / 1000),
            validBefore: BigInt(Date.UTC(2026, 0, 1, 0, 10) / 1000),
            critical: new Map(),
            extensions: new Map(standard.map((extension) => [extension, ""])),
            ...fields,
          },
          ca,
          nonceOf(theirs),
        );
        assert.equal(Buffer.from(ours).toString("hex"), Buffer.from(theirs).toString("hex"));
        const read = parseCertificate(theirs);
        assert.deepEqual(signCertificate(read, ca, nonceOf(theirs)), theirs);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  );
}

Deno.test(
  "ssh-keygen shows an issued user certificate with its node, account, principal and life",
  requireComponent("ssh-keygen"),
  async () => {
    const dir = await Deno.makeTempDir();
    try {
      const keys = generateCaKeys();
      const authority = createCertAuthority({ keys, nextSerial: () => Promise.resolve(42n) });
      const { blob } = await authority.issueUserCert({
        key: generateKey(),
        userId: "usr_000000000001",
        userName: "me",
        accountId: "acc_1",
        nodeId: "node_1",
        isolation: "native",
        now: Date.UTC(2026, 0, 1, 12),
      });
      await Deno.writeTextFile(`${dir}/c.pub`, certificateLine(blob) + "\n");
      const shown = await keygen(dir, "-L", "-f", "c.pub");
      for (
        const text of [
          "user certificate",
          "usr_000000000001",
          "Serial: 42",
          "from 2026-01-01T11:55:00 to 2026-01-01T12:05:00",
          fingerprint(keys.user.blob),
          "openbox-node@openbox.io",
          "openbox-account@openbox.io",
          "openbox-isolation@openbox.io",
        ]
      ) {
        assert.ok(shown.includes(text), `${text} in\n${shown}`);
      }
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
);

Deno.test(
  "ssh-keygen reads our private keys and we read its own",
  requireComponent("ssh-keygen"),
  async () => {
    const dir = await Deno.makeTempDir();
    try {
      const key = generateKey();
      await Deno.writeTextFile(`${dir}/ours`, privatePem(key, "hello there"), { mode: 0o600 });
      assert.equal(
        (await keygen(dir, "-y", "-f", "ours")).trim(),
        authorizedLine(key, "hello there"),
      );
      await keygen(dir, "-q", "-t", "ed25519", "-N", "", "-C", "theirs", "-f", "theirs");
      const [read] = parsePrivatePem(await Deno.readTextFile(`${dir}/theirs`));
      assert.deepEqual(
        read!.key.blob,
        parseAuthorizedLine(await Deno.readTextFile(`${dir}/theirs.pub`)).blob,
      );
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
);
