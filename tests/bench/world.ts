/** A control plane, an agent and a logged-in CLI, each a process as a user starts it, on loopback. */
import { type ControlClient, createControlClient } from "../../src/client/control_client.ts";
import { parseServerUrl } from "../../src/client/server_url.ts";
import { newUserToken } from "../../src/ids.ts";
import { Secret } from "../../src/secret.ts";
import { LAUNCHER } from "../fixtures/openbox.ts";
import { freePort } from "../fixtures/port.ts";

export interface World extends AsyncDisposable {
  readonly control: ControlClient;
  readonly server: string;
  readonly token: string;
  readonly nodeId: string;
  readonly controlPid: number;
  readonly agentPid: number;
  /** Where the agent allows trees for nspawn. */
  readonly trees: string;
  /** The CLI, logged in; its arguments are the user's. */
  readonly cliEnv: Readonly<Record<string, string>>;
  cli(
    args: readonly string[],
    options?: {
      readonly stdin?: "null" | "piped";
      /** Through the daemon that `startDaemon` started; else without one. */
      readonly daemon?: boolean;
    },
  ): Deno.Command;
}

/** As people start it. */
export const OPENBOX = LAUNCHER;

/** Where the control plane and the agent are. */
export interface Place {
  readonly address: string;
  /** What starts a program there: words before it. */
  readonly wrapper: readonly string[];
  /** Of the control plane, as files; the others trust the certificate. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

export const LOOPBACK: Place = { address: "127.0.0.1", wrapper: [] };

export async function startWorld({ address, wrapper, tls }: Place = LOOPBACK): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const home = await Deno.makeTempDir({ prefix: "openbox-bench-" });
  stack.defer(() => Deno.remove(home, { recursive: true }));
  const listen = `${address}:${freePort()}`, server = `${tls ? "https" : "http"}://${listen}`;
  const token = newUserToken(), trusting = tls ? ["--tls-ca", tls.cert] : [];
  const inherited = Object.fromEntries(
    ["PATH", "HOME", "DENO_DIR", "DOCKER_HOST", "OPENBOX_CACHE"].flatMap((name) => {
      const value = Deno.env.get(name);
      return value ? [[name, value]] : [];
    }),
  );
  const env = (part: string, more: Record<string, string> = {}) => ({
    ...inherited,
    OPENBOX_HOME: `${home}/${part}`,
    ...more,
  });
  const service = (part: string, args: readonly string[], more: Record<string, string>) => {
    // the log goes to a file, as a service's does, and costs this process nothing
    const child = new Deno.Command("/bin/sh", {
      args: [
        "-c",
        'log=$1; shift; exec "$@" 2>"$log"',
        "sh",
        `${home}/${part}.log`,
        ...wrapper,
        OPENBOX,
        ...args,
      ],
      env: env(part, more),
      clearEnv: true,
      stdin: "null",
      stdout: "null",
    }).spawn();
    stack.defer(async () => {
      child.kill("SIGTERM");
      await child.status;
    });
    return child;
  };

  const { pid: controlPid } = service("control", [
    "control",
    "--addr",
    listen,
    ...tls ? ["--tls-cert", tls.cert, "--tls-key", tls.key] : [],
  ], { OPENBOX_BOOTSTRAP_TOKEN: token });
  const control = stack.use(createControlClient({
    server: parseServerUrl(server, "bench"),
    token: new Secret(token),
    tlsCa: tls && await Deno.readTextFile(tls.cert),
  }));
  await until("the control plane", async () => await control.whoami() !== undefined);
  const trees = `${home}/trees`;
  await Deno.mkdir(trees, { mode: 0o700 });
  await Deno.mkdir(`${home}/agent/agent`, { recursive: true, mode: 0o700 });
  await Deno.writeTextFile(
    `${home}/agent/agent/agent.toml`,
    `[nspawn]\ntrees = [${JSON.stringify(trees)}]\n`,
    { mode: 0o600 },
  );
  const { token: enrollToken } = await control.createEnrollToken({ tags: ["bench"] });
  const { pid: agentPid } = service("agent", [
    "agent",
    "--server",
    server,
    "--addr",
    `${address}:${freePort()}`,
    "--name",
    "bench",
    ...trusting,
  ], { OPENBOX_ENROLL_TOKEN: enrollToken });
  await until("the agent", async () => (await control.nodes()).some(({ online }) => online));
  const nodeId = (await control.nodes())[0]!.id;

  const cliEnv = env("cli", { OPENBOX_NO_DAEMON: "1" });
  await Deno.writeTextFile(`${home}/token`, token, { mode: 0o600 });
  const login = await new Deno.Command(OPENBOX, {
    args: ["login", "--server", server, "--token-file", `${home}/token`, ...trusting],
    env: cliEnv,
    clearEnv: true,
  }).output();
  if (!login.success) throw new Error(new TextDecoder().decode(login.stderr));
  const owned = stack.move();
  return {
    control,
    server,
    token,
    nodeId,
    controlPid,
    agentPid,
    trees,
    cliEnv,
    cli: (args, { stdin = "null", daemon = false } = {}) =>
      new Deno.Command(OPENBOX, {
        args: [...args],
        env: { ...cliEnv, OPENBOX_NO_DAEMON: daemon ? "0" : "1" },
        clearEnv: true,
        stdin,
        stdout: "null",
        stderr: "inherit",
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Of the world's CLI. Disposing it ends it. */
export async function startDaemon(
  { cliEnv }: World,
): Promise<{ readonly pid: number } & AsyncDisposable> {
  const child = new Deno.Command(OPENBOX, {
    args: ["daemon"],
    env: { ...cliEnv },
    clearEnv: true,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const path = `${cliEnv.OPENBOX_HOME}/openboxd.sock`;
  await until("the daemon", () => Deno.lstat(path).then((info) => info.isSocket ?? false));
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await condition().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${what} did not start within 30 s`);
}

/** Resident memory of a process, in bytes. */
export async function residentBytes(pid: number): Promise<number> {
  const { stdout } = await new Deno.Command("ps", { args: ["-o", "rss=", "-p", String(pid)] })
    .output();
  return Number(new TextDecoder().decode(stdout).trim()) * 1024;
}
