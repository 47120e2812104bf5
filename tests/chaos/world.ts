/**
 * Control planes on one database, agents, and a TCP proxy on each way between the parts. All are real
 * processes; the clients are this one.
 */
import { type CaPublicKeys, formatCaKeys, generateCaKeys } from "../../src/ca/keys.ts";
import { type ControlClient, createControlClient } from "../../src/client/control_client.ts";
import { parseServerUrl } from "../../src/client/server_url.ts";
import { newUserToken } from "../../src/ids.ts";
import { Secret } from "../../src/secret.ts";
import { parseAuthorizedLine } from "../../src/ssh/key.ts";
import { LIBFAKETIME } from "../fixtures/component.ts";
import { baseEnv } from "../fixtures/base_env.ts";
import { freePort } from "../fixtures/port.ts";
import { type PostgresServer, startPostgres } from "../fixtures/postgres.ts";
import { eventually } from "../fixtures/processes.ts";
import { startTcpProxy, type TcpProxy } from "../fixtures/tcp_proxy.ts";
import { type Service, startService } from "./service.ts";

export interface ControlPart {
  readonly service: Service;
  /** As its clients, and as its agents reach it. */
  readonly forClients: TcpProxy;
  readonly forAgents: TcpProxy;
  /** Of the first administrator, past the proxy. */
  readonly direct: ControlClient;
  healthy(): Promise<boolean>;
}

export interface AgentPart {
  readonly name: string;
  readonly nodeId: string;
  readonly service: Service;
  readonly forClients: TcpProxy;
}

export interface ChaosWorld extends AsyncDisposable {
  readonly root: string;
  readonly controls: readonly ControlPart[];
  readonly agents: readonly AgentPart[];
  readonly token: Secret;
  readonly ca: CaPublicKeys;
  /** Where each run adds its line, in a file with its id. */
  readonly counters: string;
  /** The control plane's home, and the first agent's: on file systems of their own where that was asked for. */
  readonly controlHome: string;
  readonly agentHome: string;
  /** Where `postgres` was asked for; the control planes reach it through the proxy. */
  readonly postgres: { readonly server: PostgresServer; readonly proxy: TcpProxy } | undefined;
  /** The control plane's clock is ahead by so much from now on; needs `clock`. */
  moveClock(seconds: number): Promise<void>;
}

export interface ChaosOptions {
  readonly controls?: number;
  readonly agents?: number;
  /** Their database is one on a Postgres of their own; else a SQLite file. */
  readonly postgres?: boolean;
  /** The homes lie on small file systems. Linux as root. */
  readonly smallDisks?: boolean;
  /** The control plane's clock can be moved (libfaketime). */
  readonly clock?: boolean;
}

const DISK = "256m";
const START_MS = 30_000;

export async function startChaosWorld(options: ChaosOptions = {}): Promise<ChaosWorld> {
  await using stack = new AsyncDisposableStack();
  const root = await Deno.makeTempDir({ prefix: "openbox-chaos-" });
  stack.defer(() => Deno.remove(root, { recursive: true }));
  const controlHome = `${root}/control`, counters = `${root}/counters`;
  await Deno.mkdir(counters);
  const token = new Secret(newUserToken());
  const offset = `${root}/offset`;
  await Deno.writeTextFile(offset, "+0");

  async function makeHome(path: string): Promise<void> {
    await Deno.mkdir(path, { mode: 0o700 });
    if (!options.smallDisks) return;
    await system("mount", "-t", "tmpfs", "-o", `size=${DISK},mode=0700`, "tmpfs", path);
    stack.defer(() => system("umount", "-l", path));
  }
  const clock: Record<string, string> = options.clock
    ? {
      LD_PRELOAD: LIBFAKETIME!,
      FAKETIME_TIMESTAMP_FILE: offset,
      FAKETIME_NO_CACHE: "1",
      DONT_FAKE_MONOTONIC: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    }
    : {};

  if (options.clock && LIBFAKETIME === undefined) throw new Error("libfaketime is not installed");
  const keys = generateCaKeys();
  const postgres = options.postgres ? await startDatabase(stack) : undefined;
  await makeHome(controlHome);
  const controls: ControlPart[] = [];
  for (let i = 0; i < (options.controls ?? 1); i++) {
    const port = freePort(), url = `http://127.0.0.1:${port}`;
    const home = i === 0 ? controlHome : `${root}/control-${i + 1}`;
    if (i > 0) await makeHome(home);
    const service = stack.use(startService(["control"], {
      ...baseEnv(),
      ...clock,
      OPENBOX_HOME: home,
      OPENBOX_ADDR: `127.0.0.1:${port}`,
      OPENBOX_BOOTSTRAP_TOKEN: token.reveal(),
      ...(postgres && { OPENBOX_DB: postgres.dsn, OPENBOX_CA_KEY: formatCaKeys(keys).reveal() }),
    }));
    const direct = stack.use(
      createControlClient({ server: parseServerUrl(url, "chaos"), token, deadlineMs: 30_000 }),
    );
    const part: ControlPart = {
      service,
      forClients: stack.use(startTcpProxy(() => port)),
      forAgents: stack.use(startTcpProxy(() => port)),
      direct,
      healthy: () =>
        fetch(`${url}/health`, { signal: AbortSignal.timeout(5000) })
          .then(async (answer) => (await answer.body?.cancel(), answer.ok), () => false),
    };
    await eventually("a control plane answers", part.healthy, START_MS).catch((error) => {
      throw new Error(`${error.message}\n${service.log()}`);
    });
    controls.push(part);
  }
  const { host_ca_pubkey, user_ca_pubkey } = await controls[0]!.direct.whoami();
  const ca = {
    host: parseAuthorizedLine(host_ca_pubkey),
    user: parseAuthorizedLine(user_ca_pubkey),
  };

  const agents: AgentPart[] = [];
  for (let i = 0; i < (options.agents ?? 2); i++) {
    const name = `box-${i + 1}`, home = `${root}/${name}`, port = freePort();
    await makeHome(home);
    const forClients = stack.use(startTcpProxy(() => port));
    const control = controls[i % controls.length]!;
    const enroll = await control.direct.createEnrollToken({ tags: ["box"] });
    const service = stack.use(startService(["agent"], {
      ...baseEnv(),
      OPENBOX_HOME: home,
      OPENBOX_SERVER: `http://127.0.0.1:${control.forAgents.port}`,
      OPENBOX_NAME: name,
      OPENBOX_ENROLL_TOKEN: enroll.token,
      OPENBOX_AGENT_ADDR: `127.0.0.1:${port}`,
      OPENBOX_ADVERTISE: `127.0.0.1:${forClients.port}`,
    }));
    const nodeId = await eventually(
      `the agent ${name} is online: ${service.log()}`,
      async () => {
        const nodes = await controls[0]!.direct.nodes();
        return nodes.find((node) => node.name === name && node.online)?.id;
      },
      START_MS,
    );
    agents.push({ name, nodeId, service, forClients });
  }

  const owned = stack.move();
  return {
    root,
    controls,
    agents,
    token,
    ca,
    counters,
    postgres,
    controlHome,
    agentHome: `${root}/box-1`,
    async moveClock(seconds) {
      await Deno.writeTextFile(`${offset}.new`, `${seconds < 0 ? "" : "+"}${seconds}`);
      await Deno.rename(`${offset}.new`, offset);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function startDatabase(stack: AsyncDisposableStack) {
  const server = stack.use(await startPostgres());
  const proxy = stack.use(startTcpProxy(() => server.port));
  const dsn = server.dsn(await server.newDatabase(), "sslmode=disable")
    .replace(`:${server.port}/`, `:${proxy.port}/`);
  return { server, proxy, dsn };
}

async function system(command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args }).output();
  if (!success) throw new Error(`${command}: ${new TextDecoder().decode(stderr)}`);
}
