/** Our client against stock sshd, which is also the oracle for certificates: what it refuses, we refuse. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { CertificateFields } from "../../src/ssh/certificate.ts";
import { AuthRefusedError } from "../../src/ssh/client.ts";
import { generateKey, type PrivateKey } from "../../src/ssh/key.ts";
import { verifyHostCert, verifyUserCert } from "../../src/ca/verifier.ts";
import { requireComponent } from "../fixtures/component.ts";
import { connectTo, createIdentities, HOST_NAME, readAll } from "../fixtures/ssh.ts";
import { startSshd } from "../fixtures/sshd.ts";

const now = BigInt(Math.floor(Date.now() / 1000));

Deno.test(
  "our client runs commands on stock sshd, takes its exits and streams 200 MB both ways",
  requireComponent("sshd"),
  async () => {
    const ids = createIdentities();
    await using sshd = await startSshd({
      userCa: ids.userCa,
      host: ids.host,
      hostCertificate: ids.hostCertificate(),
    });
    await using connection = await connectTo(sshd.port, ids, {
      username: sshd.login,
      certificate: ids.userCertificate({ principals: [sshd.login] }),
      verifyHost: (blob) =>
        verifyHostCert(blob, { authorities: [ids.hostCa], nodeId: HOST_NAME, now: Date.now() }).key,
    });
    {
      await using channel = await connection.openExec("printf out; printf err >&2; exit 77");
      const [out, err] = await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
      assert.deepEqual([new TextDecoder().decode(out), new TextDecoder().decode(err)], [
        "out",
        "err",
      ]);
      assert.deepEqual(await channel.exit, { kind: "exit", code: 77 });
    }
    {
      await using channel = await connection.openExec("exec sh -c 'kill -TERM $$'");
      await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
      assert.deepEqual(await channel.exit, { kind: "signal", signal: "TERM" });
    }
    {
      await using channel = await connection.openExec("exec cat");
      const sent = createHash("sha256"), received = createHash("sha256");
      const chunk = crypto.getRandomValues(new Uint8Array(50_000));
      const reading = (async () => {
        let count = 0;
        for (let part = await channel.stdout.read(); part; part = await channel.stdout.read()) {
          received.update(part);
          count += part.length;
        }
        return count;
      })();
      const silent = readAll(channel.stderr);
      for (let i = 0; i < 4000; i++) {
        sent.update(chunk);
        await channel.write(chunk);
      }
      channel.endInput();
      assert.equal(await reading, 200_000_000);
      assert.equal((await silent).length, 0);
      assert.equal(received.digest("hex"), sent.digest("hex"));
      assert.deepEqual(await channel.exit, { kind: "exit", code: 0 });
    }
  },
);

interface Row {
  readonly id: string;
  readonly change: Partial<CertificateFields>;
  readonly by?: PrivateKey;
}

Deno.test(
  "CERT: every certificate that stock sshd refuses is refused by the agent's rules",
  requireComponent("sshd"),
  async () => {
    const ids = createIdentities(), stranger = generateKey();
    await using sshd = await startSshd({
      userCa: ids.userCa,
      host: ids.host,
      hostCertificate: ids.hostCertificate(),
    });
    const me = sshd.login,
      openbox = new Map([["openbox-account@openbox.io", "acc_1"], [
        "openbox-node@openbox.io",
        HOST_NAME,
      ]]);
    const rows: Row[] = [
      { id: "good", change: {} },
      { id: "CERT-6 host certificate", change: { kind: "host" } },
      { id: "CERT-9 no principals", change: { principals: [] } },
      { id: "CERT-9 another principal", change: { principals: ["nobody"] } },
      { id: "CERT-10 principals in one with comma", change: { principals: [`${me},x`] } },
      { id: "CERT-10 blank behind", change: { principals: [`${me} `] } },
      { id: "CERT-10 NUL behind", change: { principals: [`${me}\0`] } },
      { id: "CERT-10 star", change: { principals: ["*"] } },
      { id: "CERT-10 other case", change: { principals: [me.toUpperCase()] } },
      { id: "CERT-11 expired by a second", change: { validBefore: now - 1n } },
      { id: "CERT-11 not yet valid", change: { validAfter: now + 60n } },
      {
        id: "CERT-11 after behind before",
        change: { validAfter: now + 60n, validBefore: now - 60n },
      },
      { id: "CERT-13 unknown critical option", change: { critical: new Map([["verify-x", ""]]) } },
      { id: "openbox's own critical options", change: { critical: openbox } },
      {
        id: "source-address elsewhere",
        change: { critical: new Map([["source-address", "10.0.0.0/8"]]) },
      },
      {
        id: "source-address here",
        change: { critical: new Map([["source-address", "127.0.0.0/8,10.0.0.0/8"]]) },
      },
      { id: "another CA", change: {}, by: stranger },
      { id: "its own key as CA", change: {}, by: ids.user },
    ];
    const refusedBySshd: string[] = [];
    for (const { id, change, by } of rows) {
      const certificate = ids.userCertificate({ principals: [me], ...change }, by);
      let sshdTakes = true;
      try {
        await using _ = await connectTo(sshd.port, ids, { username: me, certificate });
      } catch (error) {
        assert.ok(error instanceof AuthRefusedError, `${id}: ${error}`);
        sshdTakes = false;
      }
      // the agent wants openbox's options on top; they are given wherever the row does not decide about options
      const forAgent = "critical" in change && id !== "openbox's own critical options" &&
          !id.startsWith("source-address")
        ? certificate
        : ids.userCertificate({
          principals: [me],
          ...change,
          critical: new Map([...openbox, ...change.critical ?? []]),
        }, by);
      const weTake = takes(() =>
        verifyUserCert(forAgent, {
          authorities: [ids.userCa],
          username: me,
          accountId: "acc_1",
          nodeId: HOST_NAME,
          now: Date.now(),
          remoteAddress: "127.0.0.1",
        })
      );
      if (!sshdTakes) refusedBySshd.push(id);
      const stricter = id === "openbox's own critical options"; // sshd cannot know them; they are ours
      assert.ok(sshdTakes || !weTake || stricter, `${id}: sshd refuses, the agent takes`);
      if (id === "good" || id === "source-address here") assert.ok(sshdTakes && weTake, id);
    }
    assert.ok(refusedBySshd.length >= 14, refusedBySshd.join(", "));
  },
);

Deno.test(
  "CERT-25: our client sends nothing to a host whose certificate it may not believe",
  requireComponent("sshd"),
  async () => {
    const ids = createIdentities();
    const bad: [string, Uint8Array][] = [
      ["expired", ids.hostCertificate({ validBefore: now - 1n })],
      ["not yet valid", ids.hostCertificate({ validAfter: now + 60n })],
      ["another node", ids.hostCertificate({ principals: ["node_ffffffffffffffff"] })],
      ["two nodes", ids.hostCertificate({ principals: [HOST_NAME, "node_ffffffffffffffff"] })],
      ["another CA", ids.hostCertificate({}, ids.userCa)],
      ["for ever", ids.hostCertificate({ validBefore: 2n ** 64n - 1n })],
    ];
    for (const [name, hostCertificate] of bad) {
      await using sshd = await startSshd({ userCa: ids.userCa, host: ids.host, hostCertificate });
      await assert.rejects(
        connectTo(sshd.port, ids, {
          username: sshd.login,
          certificate: ids.userCertificate({ principals: [sshd.login] }),
          verifyHost: (blob) =>
            verifyHostCert(blob, { authorities: [ids.hostCa], nodeId: HOST_NAME, now: Date.now() })
              .key,
        }),
        {
          code: name === "not yet valid"
            ? "clock_skew"
            : name === "expired"
            ? "host_cert_expired"
            : name === "for ever"
            ? "cert_too_long"
            : "host_key_mismatch",
        },
        name,
      );
      assert.ok(!sshd.log().includes("Accepted"), name);
    }
  },
);

const takes = (check: () => unknown): boolean => {
  try {
    check();
    return true;
  } catch {
    return false;
  }
};
