/** All that the doctor looks at, in the order in which one thing needs the other. */
import type { AbortOptions } from "../../abort.ts";
import { caFingerprint } from "../../ca/keys.ts";
import { currentPair } from "../../ca/trust.ts";
import { checkCa } from "../../client/trust.ts";
import { type ControlClient, createControlClient } from "../../client/control_client.ts";
import { OpenboxError } from "../../errors.ts";
import { homePaths } from "../../home/paths.ts";
import { networkFileSystem } from "../../home/network_file_system.ts";
import type { Host } from "../../host.ts";
import { describeEndpoint, openEngine } from "../../isolation/docker/engine.ts";
import { requireMachine, thisMachine } from "../../isolation/nspawn/machine.ts";
import { BUILD, VERSION } from "../../version.ts";
import type { DaemonStatus } from "../../ipc/messages.ts";
import { askDaemon } from "../ask_daemon.ts";
import { caPin } from "../ca_pin.ts";
import { findLogin, type Login } from "../login.ts";
import { type Check, type Finding, none, ok, toFinding, warning, wrong } from "./check.ts";
import { checkClock } from "./clock.ts";
import { checkDaemon } from "./daemon.ts";
import { checkOwner, checkPath } from "./executable.ts";
import { checkHome } from "./home.ts";
import { checkNodes, greet } from "./nodes.ts";
import { lookAtAgents } from "./agent.ts";
import { isWritable, seeServices } from "./machine.ts";
import { checkServices } from "./service.ts";
import { checkVariables } from "./variables.ts";

export interface DoctorDeps {
  readonly host: Host;
  /** Of all variables. */
  readonly names: readonly string[];
  readonly uid: number;
}

/** Disposing it closes what the checks share. */
export interface Checks extends AsyncDisposable {
  readonly list: readonly Check[];
}

export function allChecks({ host, names, uid }: DoctorDeps): Checks {
  const { env, clock } = host;
  let login: Promise<Login> | undefined, client: ControlClient | undefined;
  const loggedIn = () => login ??= findLogin(host);
  const control = (login: Login) => client ??= createControlClient(login);
  /** What needs a login says nothing more where there is none. */
  const withControl = (
    look: (
      control: ControlClient,
      login: Login,
      options: Required<AbortOptions>,
    ) => Promise<Finding | readonly Finding[]>,
  ): Check["look"] =>
  async (options) => {
    const known = await loggedIn().catch(() => undefined);
    if (!known) return none("not without a login");
    return await look(control(known), known, options);
  };
  /** What needs an answer says nothing more where the control plane gave none. */
  let isReachable = false;
  const withAnswers: typeof withControl = (look) =>
    withControl(async (...asked) =>
      isReachable ? await look(...asked) : none("not while the control plane does not answer")
    );
  let aheadMs: number | undefined, hasAgent = false, serves = false;

  const list: Check[] = [
    {
      name: "version",
      look: () =>
        Promise.resolve(ok(`openbox ${VERSION}, ${BUILD.form}, Deno ${Deno.version.deno}`)),
    },
    {
      name: "executable",
      async look() {
        if (host.program === undefined) return none("started without its launcher");
        const places = [host.program, parent(host.program)];
        // what it unpacked: the folder of one version, and that of all
        if (BUILD.form === "offline") {
          places.push(...[1, 2].map((up) => parent(Deno.execPath(), up)));
        }
        const found = await Promise.all(
          places.map(async (path) => checkOwner({ path, ...await Deno.stat(path) }, uid)),
        );
        const bad = found.filter(({ verdict }) => verdict !== "ok");
        return bad.length > 0 ? bad : found[0]!;
      },
    },
    {
      name: "PATH",
      async look() {
        const real = (path: string) => Deno.realPath(path).catch(() => undefined);
        const onPath = [];
        for (const folder of (env("PATH") ?? "").split(":").filter((one) => one.startsWith("/"))) {
          const path = `${folder.replace(/\/+$/, "")}/openbox`, leads = await real(path);
          if (leads !== undefined) onPath.push({ path, real: leads });
        }
        const { program } = host;
        return checkPath({ program, onPath, real: program && await real(program) });
      },
    },
    { name: "variables", look: () => Promise.resolve(checkVariables(names, env)) },
    {
      name: "home",
      async look() {
        const { home } = homePaths(host);
        const info = await Deno.stat(home).catch(() => undefined);
        const there = info ? home : parent(home);
        return checkHome({
          path: home,
          info,
          isWritable: await isWritable(there),
          network: await networkFileSystem(there),
        }, uid);
      },
    },
    {
      name: "services",
      async look(options) {
        const seen = await seeServices(host, uid, options);
        serves = seen?.some(({ installed }) => installed) ?? false;
        return seen ? checkServices(seen) : none("this machine has no systemd and no launchd");
      },
    },
    {
      name: "agent",
      async look() {
        const found = await lookAtAgents(host, uid);
        hasAgent = found.some(({ verdict }) => verdict === "ok");
        return found;
      },
    },
    {
      name: "login",
      async look() {
        const login = await loggedIn().catch((error) => {
          if (error instanceof OpenboxError && error.code === "not_logged_in") return undefined;
          throw error;
        });
        if (!login) {
          // a machine that only serves does without
          return hasAgent || serves
            ? none("nobody is logged in here")
            : wrong("nobody is logged in here", "openbox login --server URL");
        }
        const { server, stored, tokenEndsAt } = login;
        const who = stored ? `as ${stored.user} on` : "by OPENBOX_TOKEN on";
        const left = tokenEndsAt === undefined ? Infinity : tokenEndsAt - clock.now() / 1000;
        const anew = "openbox login with a new token";
        if (left <= 0) return wrong(`${who} ${server.href}: the token has ended`, anew);
        const days = Math.ceil(left / 86_400);
        return days > 14
          ? ok(`${who} ${server.href}`)
          : warning(`${who} ${server.href}: the token ends in ${days} days`, anew);
      },
    },
    {
      name: "control plane",
      look: withControl(async (control, { server }, { signal }) => {
        const sentAt = clock.now();
        const { trouble, time } = await control.health({ signal });
        isReachable = true;
        // the answer names whole seconds; half of one is what they lack on average
        if (time !== undefined) aheadMs = (sentAt + clock.now()) / 2 - (time + 500);
        return trouble === undefined
          ? ok(`${server.href} answers`)
          : wrong(`${server.href} answers: ${trouble}`, "its log says more");
      }),
    },
    { name: "clock", look: withAnswers(() => Promise.resolve(checkClock(aheadMs))) },
    {
      name: "token",
      look: withAnswers(async (control, _login, { signal }) => {
        const { name } = await control.whoami({ signal });
        return ok(`taken, for ${name}`);
      }),
    },
    {
      name: "CA",
      look: withAnswers(async (control, login, { signal }) => {
        const pin = caPin(login),
          trust = checkCa(await control.whoami({ signal }), pin, login.server);
        const fingerprint = caFingerprint(currentPair(trust));
        return pin.kind === "none"
          ? warning(
            `${fingerprint} is believed, and not pinned`,
            `export OPENBOX_CA_FINGERPRINT=${fingerprint}`,
          )
          : ok(`${fingerprint}, as pinned`);
      }),
    },
    {
      name: "nodes",
      look: withAnswers(async (control, _login, options) =>
        await checkNodes(await control.nodes({}, options), { greet, now: clock.now() }, options)
      ),
    },
    {
      name: "daemon",
      async look({ signal }) {
        const status = await askDaemon({ ask: "status" }, { ...host, signal });
        return checkDaemon(status as unknown as DaemonStatus | undefined);
      },
    },
    {
      name: "docker",
      look: optional(async ({ signal }) => {
        if (!hasAgent) return none("not without an agent");
        const engine = await openEngine({ env, home: env("HOME") ?? "/" });
        await engine.call((docker) => docker.info(), { signal });
        return ok(`the engine at ${describeEndpoint(engine.endpoint)} answers`);
      }),
    },
    {
      name: "nspawn",
      look: optional(async () => {
        if (!hasAgent) return none("not without an agent");
        await requireMachine(thisMachine);
        return ok("trees can be run");
      }),
    },
  ];
  return {
    list,
    async [Symbol.asyncDispose]() {
      await client?.[Symbol.asyncDispose]();
    },
  };
}

/** The folder that holds `path`, or one further up. */
const parent = (path: string, up = 1): string => path.split("/").slice(0, -up).join("/") || "/";

/** A node does without docker and nspawn as well. */
const optional = (look: Check["look"]): Check["look"] => async (options) => {
  try {
    return await look(options);
  } catch (error) {
    options.signal.throwIfAborted();
    return { ...toFinding(error), verdict: "warning" };
  }
};
