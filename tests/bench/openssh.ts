/**
 * Stock sshd and ssh for the comparison, both ends with certificates as ours have. As root the account is a
 * new one with an empty home and /bin/sh, removed at the end; else it is the caller's, start-up files and all.
 */
import { certificateLine, signCertificate } from "../../src/ssh/certificate.ts";
import { authorizedLine, generateKey, type PrivateKey, privatePem } from "../../src/ssh/key.ts";
import { startSshd } from "../fixtures/sshd.ts";
import { LOOPBACK, type Place } from "./world.ts";

export interface OpenSsh extends AsyncDisposable {
  readonly port: number;
  readonly login: string;
  readonly key: PrivateKey;
  readonly certificate: Uint8Array;
  /** The arguments of `ssh` up to the command. */
  readonly args: readonly string[];
}

let accounts = 0;

export async function startOpenSsh(
  { address, wrapper }: Pick<Place, "address" | "wrapper"> = LOOPBACK,
): Promise<OpenSsh> {
  await using stack = new AsyncDisposableStack();
  const own = Deno.build.os === "linux" && Deno.uid() === 0
    ? stack.use(await createAccount())
    : undefined;
  const userCa = generateKey(), hostCa = generateKey(), host = generateKey(), key = generateKey();
  const now = BigInt(Math.floor(Date.now() / 1000));
  const common = {
    serial: 1n,
    validAfter: now - 60n,
    validBefore: now + 86_400n,
    critical: new Map(),
    extensions: new Map(),
  };
  const hostCertificate = signCertificate({
    ...common,
    kind: "host",
    key: host,
    keyId: "host",
    principals: ["box"],
  }, hostCa);
  const sshd = stack.use(
    await startSshd({
      userCa,
      host,
      hostCertificate,
      address,
      wrapper,
      extra: ["MaxSessions 1000", "LogLevel ERROR"],
    }),
  );
  const login = own?.login ?? sshd.login;
  const certificate = signCertificate({
    ...common,
    kind: "user",
    key,
    keyId: "user",
    principals: [login],
    extensions: new Map([["permit-pty", ""]]),
  }, userCa);
  const write = (name: string, text: string) =>
    Deno.writeTextFile(`${sshd.dir}/${name}`, text, { mode: 0o600 });
  await write("id", privatePem(key));
  await write("id-cert.pub", certificateLine(certificate) + "\n");
  await write("known", `@cert-authority * ${authorizedLine(hostCa)}\n`);
  const options = {
    Port: sshd.port,
    User: login,
    HostKeyAlias: "box",
    IdentityFile: `${sshd.dir}/id`,
    CertificateFile: `${sshd.dir}/id-cert.pub`,
    UserKnownHostsFile: `${sshd.dir}/known`,
    IdentitiesOnly: "yes",
    IdentityAgent: "none",
    StrictHostKeyChecking: "yes",
    BatchMode: "yes",
    LogLevel: "ERROR",
  };
  const owned = stack.move();
  return {
    port: sshd.port,
    login,
    key,
    certificate,
    args: [
      "-F",
      "none",
      ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]),
      address,
    ],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A warm connection of OpenSSH's own. */
export interface Master extends AsyncDisposable {
  /** The arguments of an `ssh` that goes through it, up to the command. */
  readonly args: readonly string[];
}

export async function startMaster({ args }: OpenSsh): Promise<Master> {
  const directory = await Deno.makeTempDir({ prefix: "obmux-" });
  const path = `${directory}/mux`;
  const master = new Deno.Command("ssh", {
    args: ["-M", "-N", "-S", path, ...args],
    stdin: "null",
    stdout: "null",
  }).spawn();
  for (let tries = 0; !await Deno.lstat(path).then(() => true, () => false); tries++) {
    if (tries === 1000) throw new Error("ssh -M opened no socket within 10 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return {
    args: ["-S", path, "-o", "ControlMaster=no", ...args],
    async [Symbol.asyncDispose]() {
      master.kill("SIGTERM");
      await master.status;
      await Deno.remove(directory, { recursive: true });
    },
  };
}

async function createAccount(): Promise<{ readonly login: string } & AsyncDisposable> {
  const home = await Deno.makeTempDir({ prefix: "openbox-bench-home-" });
  const login = `openbox-bench-${Deno.pid}-${++accounts}`;
  const system = async (program: string, ...args: string[]) => {
    const { success, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
    if (!success) throw new Error(`${program}: ${new TextDecoder().decode(stderr)}`);
  };
  await system(
    "useradd",
    "--system",
    "--shell",
    "/bin/sh",
    "--no-create-home",
    "--home-dir",
    home,
    login,
  );
  await system("usermod", "--password", "*", login); // without it the account is locked, for certificates too
  await system("chown", login, home);
  return {
    login,
    async [Symbol.asyncDispose]() {
      await system("userdel", login);
      await Deno.remove(home, { recursive: true });
    },
  };
}
