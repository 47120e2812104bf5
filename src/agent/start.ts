/** The agent as one thing that runs: composed here, and ended in the reverse order. */
import { hostname } from "node:os";
import type { AbortOptions } from "../abort.ts";
import { utf8 } from "../bytes.ts";
import type { VerifiedUser } from "../ca/verifier.ts";
import { createControlClient } from "../client/control_client.ts";
import type { ServerUrl } from "../client/server_url.ts";
import { OpenboxError } from "../errors.ts";
import { writePrivateFile } from "../home/private_file.ts";
import type { Host } from "../host.ts";
import { newBootId } from "../ids.ts";
import type { IsolationBackend } from "../isolation/backend.ts";
import { openDockerBackend } from "../isolation/docker/backend.ts";
import { openNativeBackend } from "../isolation/native/backend.ts";
import { openNspawnBackend } from "../isolation/nspawn/backend.ts";
import { log, startLog } from "../log.ts";
import { openSessionTable } from "../session/table.ts";
import { createSshServer, SERVER_LIMITS, type SshServer } from "../ssh/server.ts";
import { parseAddress } from "../transport/address.ts";
import { tcpTransport } from "../transport/tcp.ts";
import type { Transport } from "../transport/transport.ts";
import { VERSION } from "../version.ts";
import { takeSupervisor } from "../supervisor.ts";
import { findAddress } from "./address.ts";
import { authenticate } from "./connection.ts";
import { descriptorLimit } from "./descriptor_limit.ts";
import { type Door, openDoor } from "./door.ts";
import { enroll, type Enrolled } from "./enroll.ts";
import { serveChannel } from "./exec.ts";
import { type Access, chooseAccess, contradictions, usableState } from "./enrolled.ts";
import { beat } from "./heartbeat.ts";
import { localAddress } from "./local_address.ts";
import { readLogin } from "./login.ts";
import { openLogins } from "./logins.ts";
import { LiveRuns } from "./live_runs.ts";
import { LiveNode } from "./node.ts";
import { openPathLookup } from "./path_lookup.ts";
import { requireUsable } from "./policy.ts";
import { openRevocations } from "./revocations.ts";
import { revokeLive } from "./revoke_live.ts";
import { reportRuns } from "./run_reports.ts";
import { openRunSpool } from "./run_spool.ts";
import { acceptEnv, acceptSubsystem } from "./run_request.ts";
import { sessionFiles } from "./session_files.ts";
import { createSshLog } from "./ssh_log.ts";
import { answers } from "./answers.ts";
import { AGENT_PORT, type AgentSettings } from "./settings.ts";
import { readNodeState, writeNodeState } from "./state.ts";

export interface AgentOverrides {
  readonly transport?: Transport;
  /** In the place of native. */
  readonly backend?: IsolationBackend & AsyncDisposable;
  readonly localAddress?: typeof localAddress;
}

/** A running agent. Disposing it takes nothing new, ends the runs that go on, and closes. */
export interface RunningAgent extends AsyncDisposable {
  readonly nodeId: string;
  readonly name: string;
  /** Where it listens. */
  readonly addr: string;
  /** Rejects with `node_deleted` once the control plane says so; settles else only by disposal. */
  readonly ended: Promise<void>;
  readonly connections: SshServer<VerifiedUser>["connections"];
  /** Rejects where its own port answers nothing before the signal aborts. */
  answers(options: Required<AbortOptions>): Promise<void>;
}

export async function startAgent(
  settings: AgentSettings,
  host: Host,
  overrides: AgentOverrides = {},
): Promise<RunningAgent> {
  const { clock, signal } = host;
  await using stack = new AsyncDisposableStack();
  const stored = usableState(await readNodeState(settings.statePath), settings);
  for (const note of contradictions(settings, stored)) log("agent").warn(note);
  const access = chooseAccess(settings, stored);

  const { rules } = settings;
  const native = stack.use(overrides.backend ?? await openNativeBackend());
  const own = await readLogin(host);
  const silent = Math.min(SERVER_LIMITS.silent, Math.floor(await descriptorLimit() / 2));
  const logins = openLogins({ own, native, path: rules.commandPath });
  const { agentDir } = settings;
  const lookup = openPathLookup({ ownLogin: own.name, home: own.home, agentDir });
  requireUsable(rules, lookup);
  const gate: { ssh?: SshServer<VerifiedUser> } = {};
  const door = stack.use(
    await openAgentDoor(settings, access.server, overrides, (conn) => {
      if (gate.ssh) gate.ssh.accept(conn);
      else conn.destroy(); // no node yet
    }),
  );

  const enrolled = stored ? undefined : await becomeNode(settings, access, door, host);
  const state = stored ?? enrolled!.state;
  const node = new LiveNode(settings.statePath, state);
  // before the first connection: a restart forgets no revocation
  const revocations = await openRevocations({
    path: settings.revocationsPath,
    node,
    rules,
    clock,
  });
  if (enrolled?.revocationList) {
    // with a clock that is wrong here it cannot be believed yet, as no caller can be
    await revocations.take(enrolled.revocationList).catch((error) =>
      log("agent", "revocation").warn("the first list is not taken: {error}", { error })
    );
  }
  const { nodeId } = state, bootId = newBootId();
  const { env } = host;
  const backends: readonly IsolationBackend[] = [
    native,
    stack.use(openDockerBackend({ env, home: own.home, owner: nodeId, boot: bootId })),
    stack.use(openNspawnBackend()),
  ];
  const sessions = stack.use(
    await openSessionTable({ records: sessionFiles(settings.sessionsDir), clock }),
  );
  const spool = stack.use(await openRunSpool(settings.runsPath, { clock }));
  const deps = { backends, rules, lookup, sessions, spool, logins, nodeId, clock };
  const runs = new LiveRuns();
  const ssh = createSshServer<VerifiedUser>({
    identity: () => ({ key: node.state.hostKey, certificate: node.state.hostCert.blob }),
    authenticate: (request) => authenticate(request, { clock, node, revocations }),
    acceptEnv,
    acceptSubsystem,
    permitPty: (user) => user.permitPty,
    onChannel: (channel) =>
      runs.hold(channel.proof, (stopping) => serveChannel(channel, { ...deps, stopping })),
    limits: { silent },
    log: createSshLog(log("agent", "ssh"), () => performance.now()),
  });
  gate.ssh = stack.use(ssh);
  stack.use(runs);

  const control = stack.use(createControlClient({ ...access, token: state.nodeToken }));
  stack.defer(() => door[Symbol.asyncDispose]()); // nothing new comes in while the rest ends
  const beating = new AbortController();
  const ended = beat({
    control,
    clock,
    bootId,
    node,
    addr: (options) => door.look(options),
    sessions,
    revocations,
    onRevoked: (added) => revokeLive(added, { revocations, runs, ssh, sessions, rules }),
    random: Math.random,
  }, beating.signal).catch(async (error) => {
    // from here on no certificate is believed, also where the disk is full
    await node.remove().catch((failure) =>
      log("agent").error("the removal cannot be recorded", { error: failure })
    );
    throw error;
  });
  ended.catch(() => {}); // told by `ended`, to whoever asks
  const reporting = reportRuns({ control, spool, clock, random: Math.random }, beating.signal);
  stack.defer(async () => {
    beating.abort();
    await Promise.allSettled([ended, reporting]);
  });

  if (signal.aborted) throw signal.reason;
  const owned = stack.move();
  return {
    nodeId,
    name: state.name,
    ended,
    get addr() {
      return door.addr;
    },
    get connections() {
      return ssh.connections;
    },
    answers: (options) =>
      answers({ addr: door.addr, transport: overrides.transport ?? tcpTransport }, options),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Runs until the host's signal. Throws `node_deleted` once this machine is no node any more. */
export async function runAgent(settings: AgentSettings, host: Host): Promise<void> {
  await using _log = await startLog(host);
  const supervisor = takeSupervisor(host, { directory: settings.agentDir });
  Deno.umask(0o077);
  for (const warning of settings.warnings) log("agent").warn(warning);
  const stopped = new AbortController();
  const stop = () => stopped.abort();
  using _quit = host.onSignal("SIGQUIT", stop); // a listener is there, so the default is not
  await using agent = await startAgent(settings, host);
  // this machine is a node: a secret that is not needed lies nowhere
  await Deno.remove(settings.enrollTokenPath).catch(() => {});
  await host.stdout.write(
    utf8(
      `openbox ${VERSION} agent, node ${agent.name} (${agent.nodeId}), listening on ${agent.addr}\n`,
    ),
  );
  await using _supervised = await supervisor.ready((options) => agent.answers(options));
  if (host.signal.aborted) stop();
  host.signal.addEventListener("abort", stop, { once: true });
  const asked = new Promise<void>((resolve) => {
    if (stopped.signal.aborted) resolve();
    stopped.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  await Promise.race([asked, agent.ended]);
  log("agent").info("ending: what still runs is ended");
}

async function openAgentDoor(
  { addr, advertise }: AgentSettings,
  server: ServerUrl,
  overrides: AgentOverrides,
  onConn: Parameters<typeof openDoor>[0]["onConn"],
): Promise<Door> {
  const transport = overrides.transport ?? tcpTransport;
  const deps = { server, addr, advertise, transport };
  const shown = parseAddress(await transport.advertise(`0.0.0.0:${AGENT_PORT}`), "The address");
  return await openDoor({
    transport,
    find: (options) =>
      findAddress({ ...deps, localAddress: overrides.localAddress ?? localAddress }, options),
    otherwise: { listen: shown, advertise: advertise ?? shown },
    onConn,
  });
}

async function becomeNode(
  settings: AgentSettings,
  access: Access,
  door: Door,
  { signal }: Host,
): Promise<Enrolled> {
  const { enrollToken: token, statePath } = settings;
  if (!token) {
    throw new OpenboxError("bad_setting", "This machine is no node yet, and there is no token", {
      hint: "openbox node token, where you are logged in, prints the command to start it with",
    });
  }
  await checkWritable(statePath);
  await using control = createControlClient(access);
  const enrolled = await enroll(
    {
      ...access,
      token,
      name: settings.name ?? defaultName(),
      tags: settings.tags ?? [],
      addr: await door.look({ signal }),
    },
    { control },
    { signal },
  );
  const { state, droppedTags } = enrolled;
  await writeNodeState(statePath, state);
  if (droppedTags.length > 0) {
    log("agent").warn("the enrollment token does not allow the tags {tags}; the node is without", {
      tags: droppedTags.join(", "),
    });
  }
  log("agent").info("enrolled", { node: state.nodeId, name: state.name });
  return enrolled;
}

/** The token is good for one enrollment: it must not be spent where the result cannot be kept. */
async function checkWritable(path: string): Promise<void> {
  await writePrivateFile(`${path}.try`, "");
  await Deno.remove(`${path}.try`);
}

/** The machine's, in the characters that a name may have. */
const defaultName = (): string =>
  hostname().replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^-+/, "").slice(0, 64) || "node";
