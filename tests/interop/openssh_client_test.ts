/** Stock `ssh` with a user certificate and a `@cert-authority` line against our server. */
import assert from "node:assert/strict";
import { text } from "../../src/bytes.ts";
import { authorizedLine, generateKey, privatePem } from "../../src/ssh/key.ts";
import { certificateLine } from "../../src/ssh/certificate.ts";
import type { ServerChannel } from "../../src/ssh/channel.ts";
import { requireComponent } from "../fixtures/component.ts";
import {
  createIdentities,
  HOST_NAME,
  type Identities,
  serveSsh,
  type TestServer,
  USER_NAME,
} from "../fixtures/ssh.ts";

/** Does what the command says: `exit N`, `signal NAME`, `cat`, `yes`, `env NAME`, `both`. */
async function act(channel: ServerChannel<string>): Promise<void> {
  const { request } = channel;
  const [verb, argument = ""] = request.kind === "exec"
    ? text(request.command).split(" ")
    : [request.kind];
  const say = (stream: "stdout" | "stderr", text: string) =>
    channel.write(stream, new TextEncoder().encode(text));
  switch (verb) {
    case "exit":
      return await channel.end({ kind: "exit", code: Number(argument) });
    case "signal":
      return await channel.end({ kind: "signal", signal: argument });
    case "cat":
      for (let chunk = await channel.input.read(); chunk; chunk = await channel.input.read()) {
        await channel.write("stdout", chunk);
      }
      return await channel.end({ kind: "exit", code: 0 });
    case "yes":
      while (await say("stdout", "y\n".repeat(8192)));
      return await channel.end({ kind: "signal", signal: "PIPE" });
    case "env":
      await say("stdout", channel.env.get(argument) ?? "unset");
      return await channel.end({ kind: "exit", code: 0 });
    default:
      await say("stdout", "out");
      await say("stderr", "err");
      return await channel.end({ kind: "exit", code: 0 });
  }
}

interface Client extends AsyncDisposable {
  ssh(args: readonly string[], options?: { readonly stdin?: "null" | "piped" }): Deno.ChildProcess;
  run(...args: string[]): Promise<{ code: number; out: string; err: string }>;
  shell(line: string): Promise<{ code: number; out: string; err: string }>;
}

async function stockClient(
  ids: Identities,
  server: TestServer,
  certificate = ids.userCertificate(),
): Promise<Client> {
  const dir = await Deno.makeTempDir();
  const write = (name: string, text: string) =>
    Deno.writeTextFile(`${dir}/${name}`, text, { mode: 0o600 });
  await write("id", privatePem(ids.user));
  await write("id-cert.pub", certificateLine(certificate) + "\n");
  await write("known", `@cert-authority * ${authorizedLine(ids.hostCa)}\n`);
  await write(
    "config",
    [
      "Host box",
      "HostName 127.0.0.1",
      `Port ${server.port}`,
      `User ${USER_NAME}`,
      `HostKeyAlias ${HOST_NAME}`,
      `IdentityFile ${dir}/id`,
      `CertificateFile ${dir}/id-cert.pub`,
      "IdentitiesOnly yes",
      "IdentityAgent none",
      "StrictHostKeyChecking yes",
      `UserKnownHostsFile ${dir}/known`,
      "BatchMode yes",
      "",
    ].join("\n"),
  );
  const spawn = (program: string, args: readonly string[], stdin: "null" | "piped" = "null") =>
    new Deno.Command(program, { args: [...args], stdin, stdout: "piped", stderr: "piped" }).spawn();
  const finish = async (child: Deno.ChildProcess) => {
    const { code, stdout, stderr } = await child.output();
    return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
  };
  return {
    ssh: (args, { stdin } = {}) => spawn("ssh", ["-F", `${dir}/config`, ...args], stdin),
    run: (...args) => finish(spawn("ssh", ["-F", `${dir}/config`, "box", ...args])),
    shell: (line) => finish(spawn("sh", ["-c", line.replaceAll("SSH", `ssh -F '${dir}/config'`)])),
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

Deno.test(
  "SSH-16: stock ssh gets streams, exit codes and signals",
  requireComponent("ssh"),
  async () => {
    const ids = createIdentities();
    await using server = await serveSsh(ids, act);
    await using client = await stockClient(ids, server);
    assert.deepEqual(await client.run("both"), { code: 0, out: "out", err: "err" });
    for (const code of [0, 1, 77, 254, 255]) {
      assert.equal(
        (await client.run("exit", String(code))).code,
        code,
      );
    }
    assert.equal((await client.run("signal", "TERM")).code, 255);
  },
);

Deno.test("SSH-16: stock ssh streams 200 MB both ways", requireComponent("ssh"), async () => {
  const ids = createIdentities();
  await using server = await serveSsh(ids, act);
  await using client = await stockClient(ids, server);
  const { out, code } = await client.shell(
    "head -c 200000000 /dev/zero | tr '\\0' 'x' | SSH box cat | sha256sum; head -c 200000000 /dev/zero | tr '\\0' 'x' | sha256sum",
  );
  const [received, sent] = out.trim().split("\n");
  assert.equal(code, 0);
  assert.ok(sent && sent.length > 64);
  assert.equal(received, sent);
});

Deno.test(
  "SSH-16: `ssh box yes | head -1` ends on both sides",
  requireComponent("ssh"),
  async () => {
    const ids = createIdentities();
    const ended = Promise.withResolvers<void>();
    await using server = await serveSsh(ids, async (channel) => {
      await act(channel);
      ended.resolve();
    });
    await using client = await stockClient(ids, server);
    const { out } = await client.shell("SSH box yes | head -1");
    assert.equal(out, "y\n");
    await ended.promise;
  },
);

Deno.test(
  "SSH-7: stock ssh may rekey every megabyte, and we may at the same time",
  requireComponent("ssh"),
  async () => {
    const ids = createIdentities();
    await using server = await serveSsh(ids, act, { limits: { rekeyBytes: 700_000 } });
    await using client = await stockClient(ids, server);
    const { out } = await client.shell(
      "head -c 30000000 /dev/urandom >${TMPDIR:-/tmp}/$$.in; SSH -o RekeyLimit=1M box cat <${TMPDIR:-/tmp}/$$.in | cmp - ${TMPDIR:-/tmp}/$$.in && echo same; rm ${TMPDIR:-/tmp}/$$.in",
    );
    assert.equal(out, "same\n");
  },
);

Deno.test(
  "SSH-16: stock ssh without ChaCha20 gets AES-GCM, new keys included",
  requireComponent("ssh"),
  async () => {
    const ids = createIdentities();
    await using server = await serveSsh(ids, act, { limits: { rekeyBytes: 700_000 } });
    await using client = await stockClient(ids, server);
    for (const cipher of ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]) {
      const { out, code } = await client.shell(
        `head -c 5000000 /dev/zero | SSH -c ${cipher} -o RekeyLimit=1M box cat | wc -c`,
      );
      assert.deepEqual([Number(out), code], [5_000_000, 0], cipher);
    }
  },
);

Deno.test("SSH-10: only variables on the list arrive", requireComponent("ssh"), async () => {
  const ids = createIdentities();
  await using server = await serveSsh(ids, act, { acceptEnv: (name) => name === "GOOD" });
  await using client = await stockClient(ids, server);
  assert.equal((await client.shell("SSH -o SetEnv=GOOD=yes box env GOOD")).out, "yes");
  assert.equal((await client.shell("SSH -o SetEnv=LD_PRELOAD=x box env LD_PRELOAD")).out, "unset");
});

Deno.test(
  "SSH-10: forwardings and agents are refused, and a terminal where it is not permitted",
  requireComponent("ssh"),
  async () => {
    const ids = createIdentities();
    await using server = await serveSsh(ids, act, { permitPty: () => false });
    await using client = await stockClient(ids, server);
    assert.match(
      (await client.shell("SSH -W 127.0.0.1:22 box")).err,
      /open failed: administratively prohibited/,
    );
    assert.match(
      (await client.shell("SSH -o ExitOnForwardFailure=yes -R 0:127.0.0.1:22 box exit 0")).err,
      /remote port forwarding failed/,
    );
    assert.match((await client.shell("SSH -tt box exit 0")).err, /PTY allocation request failed/);
  },
);

Deno.test(
  "SSH-16: a control master runs twenty commands at once over one connection",
  requireComponent("ssh"),
  async () => {
    const ids = createIdentities();
    await using server = await serveSsh(ids, act);
    await using client = await stockClient(ids, server);
    const dir = await Deno.makeTempDir();
    try {
      const { out } = await client.shell(
        `C="-o ControlPath=${dir}/c"; SSH $C -o ControlMaster=yes -f -N box; for i in $(seq 20); do SSH $C box exit $i & p="$p $!"; done; for p in $p; do wait $p; echo $?; done; SSH $C -O exit box 2>/dev/null`,
      );
      assert.deepEqual(
        out.trim().split("\n").map(Number),
        Array.from({ length: 20 }, (_, i) => i + 1),
      );
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
);

Deno.test(
  "CERT-25: stock ssh refuses our server under another name or another CA",
  requireComponent("ssh"),
  async () => {
    const ids = createIdentities();
    await using server = await serveSsh(ids, act);
    await using client = await stockClient(ids, server);
    assert.match(
      (await client.shell("SSH -o HostKeyAlias=node_ffffffffffffffff box exit 0")).err,
      /name is not a listed principal/,
    );
    await using other = await serveSsh(ids, act, {
      identity: () => ({ key: ids.host, certificate: ids.hostCertificate({}, generateKey()) }),
    });
    await using stranger = await stockClient(ids, other);
    assert.match(
      (await stranger.run("exit", "0")).err,
      /Host key verification failed|No matching host key|no hostkey alg/i,
    );
  },
);
