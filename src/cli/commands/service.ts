/** Installs, removes and shows openbox's services on this machine. */
import { utf8 } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import { homePaths } from "../../home/paths.ts";
import type { Host } from "../../host.ts";
import {
  type ApplyDeps,
  installService,
  isLingering,
  madeLinger,
  serviceStatus,
  uninstallService,
} from "../../service/apply.ts";
import { findManager } from "../../service/find_manager.ts";
import { requireStablePlace } from "../../service/program_place.ts";
import {
  type Placed,
  type Scope,
  type Service,
  SERVICES,
  type ServiceSpec,
  type ServiceStatus,
} from "../../service/service.ts";
import { managerTool } from "../../service/tool.ts";
import { quoteWord } from "../../shell_word.ts";
import { formatTable } from "../table.ts";
import { printJson, printLine, printNote, printWarning } from "../output.ts";
import { serviceFlags } from "../service_flags.ts";
import type { JsonFlags } from "../flags.ts";
import type { AgentFlags } from "./agent.ts";
import type { ControlFlags } from "./control.ts";

export interface ServiceFlags {
  readonly json?: boolean;
  readonly dryRun?: boolean;
}
export type InstallFlags = ServiceFlags;
export type InstallAgentFlags = AgentFlags & InstallFlags;
export type InstallControlFlags = Omit<ControlFlags, "newToken"> & InstallFlags;

export async function installAgent(flags: InstallAgentFlags, host: Host): Promise<void> {
  const machine = await openMachine(host, flags);
  const placed = { service: "agent", scope: machine.isRoot ? "system" : "user" } as const;
  const home = chooseHome(placed, machine, host);
  const { prepareAgent } = await import("../service_agent.ts");
  const { leaveToken } = await prepareAgent(flags, { ...host, env: inHome(home, host) });
  await install(
    { ...placed, home, program: programOf(host), flags: serviceFlags("agent", flags, host) },
    machine,
    flags,
    host,
    leaveToken,
  );
}

export async function installControl(flags: InstallControlFlags, host: Host): Promise<void> {
  const machine = await openMachine(host, flags);
  const placed = { service: "control", scope: machine.isRoot ? "system" : "user" } as const;
  const home = chooseHome(placed, machine, host);
  const words = serviceFlags("control", flags, host);
  const { prepareControl } = await import("../service_control.ts");
  const spec = { ...placed, home, program: programOf(host), flags: words };
  machine.deps.manager.files(spec); // says at once where there can be none
  const { lowPort } = await prepareControl(flags, home, host);
  await install({ ...spec, lowPort }, machine, flags, host);
}

export async function installDaemon(flags: InstallFlags, host: Host): Promise<void> {
  const machine = await openMachine(host, flags);
  const { home } = homePaths(host);
  await install(
    { service: "daemon", scope: "user", home, program: programOf(host), flags: [] },
    machine,
    flags,
    host,
  );
}

interface Machine {
  readonly deps: ApplyDeps;
  readonly isRoot: boolean;
  readonly uid: number;
}

async function openMachine(host: Host, { dryRun }: ServiceFlags): Promise<Machine> {
  const uid = Deno.uid()!;
  const manager = await findManager(host, { uid, evenIfNotRunning: dryRun ?? false });
  const deps = { manager, run: managerTool(host, { uid }), clock: host.clock };
  return { deps, isRoot: uid === 0, uid };
}

function programOf({ program }: Host): string {
  if (program !== undefined) return program;
  throw new OpenboxError("bad_setting", "Cannot tell which executable this is", {
    hint: "start openbox by its launcher: the installed openbox, or scripts/openbox",
  });
}

/** That of a service of the machine is given; a user's own is where his other files are. */
function chooseHome({ service, scope }: Placed, { deps: { manager } }: Machine, host: Host) {
  if (scope === "user") return homePaths(host).home;
  const home = manager.systemHome(service), other = host.env("OPENBOX_HOME");
  if (other === undefined || other === home) return home;
  throw new OpenboxError(
    "bad_setting",
    `As a service of the machine the ${
      TITLE[service]
    } keeps its files in ${home}, but OPENBOX_HOME is ${other}`,
    { hint: "unset OPENBOX_HOME" },
  );
}

const inHome = (home: string, host: Host) => (name: string) =>
  name === "OPENBOX_HOME" ? home : host.env(name);

async function install(
  given: ServiceSpec,
  { deps, uid }: Machine,
  flags: InstallFlags,
  host: Host,
  beforeStart = () => Promise.resolve(),
): Promise<void> {
  const options = { signal: host.signal }, { manager } = deps;
  const better = "/usr/local/bin/openbox";
  if (flags.dryRun) {
    return await showPlan(given, deps, flags, host);
  }
  await requireStablePlace(given.program, given, { uid, better });
  const lingers = await madeLinger(given, manager) ||
    await isLingering(given, deps, options) === false;
  const spec = { ...given, lingers };
  await beforeStart();
  const files = await installService(spec, deps, options);
  const status = await serviceStatus(spec, deps, options);
  if (await isLingering(spec, deps, options) === false) {
    await printWarning(
      `the agent ends with your last logout; so that it stays: sudo loginctl enable-linger ${uid}`,
      host,
    );
  }
  if (flags.json) return await printJson({ files, service: toJson(status) }, host);
  for (const { path, change } of files) await printLine(`${change} ${path}`, host);
  await printLine(`${status.unit} is ${status.state}`, host);
  await printNote(`its log: ${manager.logCommand(spec)}`, host);
}

async function showPlan(
  spec: ServiceSpec,
  { manager }: ApplyDeps,
  { json }: InstallFlags,
  host: Host,
): Promise<void> {
  const files = manager.files(spec);
  const steps = [...manager.prepare(spec), ...manager.activate(spec, { changed: true })];
  const commands = steps.map(({ command }) => command);
  if (json) return await printJson({ files, commands }, host);
  for (const { path, text } of files) await host.stdout.write(utf8(`# ${path}\n${text}\n`));
  for (const command of commands) await printLine(command.map(quoteWord).join(" "), host);
}

export async function uninstall(flags: ServiceFlags, host: Host, name: string): Promise<void> {
  const service = parseService(name);
  const machine = await openMachine(host, flags), { deps } = machine;
  const scope: Scope = service !== "daemon" && machine.isRoot ? "system" : "user";
  const placed = { service, scope };
  if (flags.dryRun) {
    const lingers = await madeLinger(placed, deps.manager);
    const before = deps.manager.deactivate(placed), paths = deps.manager.paths(placed);
    const after = deps.manager.forget(placed, { lingers });
    const commands = [
      ...before.map(({ command }) => command),
      ["rm", ...paths],
      ...after.map(({ command }) => command),
    ];
    if (flags.json) return await printJson({ commands }, host);
    for (const command of commands) await printLine(command.map(quoteWord).join(" "), host);
    return;
  }
  const removed = await uninstallService(placed, deps, { signal: host.signal });
  if (flags.json) return await printJson({ removed }, host);
  for (const path of removed) await printLine(`removed ${path}`, host);
  if (removed.length === 0) await printNote(notInstalled(placed, machine.isRoot), host);
  if (service === "daemon") return;
  const home = scope === "system" ? deps.manager.systemHome(service) : homePaths(host).home;
  const state = scope === "system" ? home : `${home}/${service}`;
  if (!await Deno.lstat(state).then(() => true, () => false)) return;
  await printNote(
    `what it keeps is in ${state}; to remove that too: ${deps.manager.removeState(placed, state)}`,
    host,
  );
}

const TITLE: Readonly<Record<Service, string>> = {
  agent: "agent",
  control: "control plane",
  daemon: "daemon",
};
const notInstalled = ({ service }: Placed, isRoot: boolean) =>
  `the ${TITLE[service]} is not installed as a service ${
    isRoot ? "of the machine" : "of yours; one of the machine takes sudo"
  }`;

export async function status(flags: JsonFlags, host: Host, ...[name]: string[]): Promise<void> {
  const services = name === undefined ? SERVICES : [parseService(name)];
  const uid = Deno.uid()!, manager = await findManager(host, { uid, evenIfNotRunning: false });
  const deps = { manager, run: managerTool(host, { uid }), clock: host.clock };
  const found = await allStatuses(services, deps, host);
  if (flags.json) return await printJson({ services: found.map(toJson) }, host);
  await host.stdout.write(utf8(formatTable([
    ["SERVICE", "OF", "STATE", "STARTS", "PID", "RESTARTS", "UNIT"],
    ...found.map((one) => [
      one.service,
      one.installed ? (one.scope === "system" ? "the machine" : "you") : "-",
      one.installed ? `${one.state}${one.failure ? ` (${one.failure})` : ""}` : "not installed",
      one.installed ? (one.enabled ? "by itself" : "by hand") : "-",
      String(one.pid ?? "-"),
      String(one.restarts ?? "-"),
      one.unit,
    ]),
  ])));
}

/** Of each service where it is installed, in both places if need be; else that it is not. */
export async function allStatuses(
  services: readonly Service[],
  deps: ApplyDeps,
  { signal }: Pick<Host, "signal">,
): Promise<ServiceStatus[]> {
  const found: ServiceStatus[] = [];
  for (const service of services) {
    const scopes: Scope[] = service === "daemon" ? ["user"] : ["system", "user"];
    const all = await Promise.all(
      scopes.map((scope) => serviceStatus({ service, scope }, deps, { signal })),
    );
    const installed = all.filter((one) => one.installed);
    found.push(...(installed.length > 0 ? installed : all.slice(0, 1)));
  }
  return found;
}

const toJson = (status: ServiceStatus) => ({
  service: status.service,
  scope: status.scope,
  unit: status.unit,
  file: status.file,
  installed: status.installed,
  enabled: status.enabled,
  state: status.installed ? status.state : "not_installed",
  pid: status.pid ?? null,
  restarts: status.restarts ?? null,
  failure: status.failure ?? null,
});

function parseService(name: string): Service {
  const found = SERVICES.find((service) => service === name);
  if (found) return found;
  throw new OpenboxError("usage", `There is no service ${JSON.stringify(name)}`, {
    hint: `one of ${SERVICES.join(", ")}`,
  });
}
