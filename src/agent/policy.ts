/**
 * Whether a run may be had on this node: what its caller wants and what its certificate fixes, held
 * against the owner's rules. `allowRun` is the only way to an `AllowedRun`, and what starts a command
 * asks for one. It looks at the file system through `PathLookup` alone and changes nothing.
 */
import { OpenboxError } from "../errors.ts";
import type { Confinement, Mount } from "../isolation/backend.ts";
import {
  formatSize,
  type Limit,
  type Net,
  requireHeld,
  requireNet,
  writtenLimits,
} from "../isolation/confinement.ts";
import type { IsolationSpec } from "../isolation/spec.ts";
import type { AgentRules } from "./rules.ts";

export interface AskedRun {
  readonly spec: IsolationSpec;
  /** The certificate's. */
  readonly login: string | undefined;
  /** Mounts with the paths as they were given. */
  readonly confinement: Confinement;
}

declare const allowed: unique symbol;

export interface AllowedRun {
  readonly [allowed]: true;
  /** Of a tree, the path that it has without symbolic links. */
  readonly spec: IsolationSpec;
  /** Whom it runs as; undefined: the agent's own login, or the image's. */
  readonly login: string | undefined;
  /** What is asked for and what the node holds by itself, mounts without symbolic links in their source. */
  readonly confinement: Confinement;
  /** What its caller asked for, by flag: a session that is there already must have been started with the same. */
  readonly asked: ReadonlyMap<string, string>;
}

export interface FoundPath {
  /** Without symbolic links. */
  readonly path: string;
  readonly kind: "file" | "directory" | "other";
}

export interface PathLookup {
  /** Undefined where there is nothing. */
  find(path: string): Promise<FoundPath | undefined>;
  /** Whom the agent runs as. */
  readonly ownLogin: string;
  readonly isRoot: boolean;
  /** What no command may have, nor a directory that holds it: sockets of docker, the agent's own files. */
  readonly kept: readonly string[];
}

/**
 * Throws `isolation_not_allowed`, `login_not_allowed`, `mount_not_allowed`, `mount_invalid`,
 * `limit_not_allowed` or `limit_unsupported`.
 */
export async function allowRun(
  { spec, login, confinement }: AskedRun,
  rules: AgentRules,
  lookup: PathLookup,
): Promise<AllowedRun> {
  const { kind } = spec;
  if (!rules.isolations.includes(kind)) {
    throw refusal("isolation_not_allowed", `This node does not allow ${kind} commands`, rules, {
      key: "isolations",
      allowed: rules.isolations,
    });
  }
  const written = writtenLimits(confinement);
  requireHeld(kind, written.keys());
  const run: Omit<AllowedRun, typeof allowed> = {
    login: allowLogin(login, kind, rules, lookup),
    spec: spec.kind === "nspawn" ? await allowTree(spec.root, rules, lookup) : spec,
    confinement: {
      ...confinement,
      ...allowCaps(confinement, rules),
      ...(kind !== "native" && { net: allowNet(confinement.net, kind, rules) }),
      ...allowGpus(confinement, rules),
      ...(confinement.mounts && { mounts: await allowMounts(confinement.mounts, rules, lookup) }),
      ...(kind === "docker" && rules.untrusted && { untrusted: true }),
    },
    asked: new Map([
      ...[...written].map(([limit, value]) => [`--${limit}`, value] as const),
      ...(login === undefined ? [] : [["--user", login] as const]),
    ]),
  };
  return run as AllowedRun;
}

/** Throws `bad_setting` where no command could ever run as the rules say. */
export function requireUsable(
  { runAs, path }: Pick<AgentRules, "runAs" | "path">,
  { ownLogin, isRoot }: Pick<PathLookup, "ownLogin" | "isRoot">,
): void {
  if (runAs === undefined || runAs === ownLogin || isRoot) return;
  throw new OpenboxError(
    "bad_setting",
    `${path}: run_as: only root can run commands as ${runAs}, and this agent is ${ownLogin}`,
    { hint: "start the agent as root, or leave run_as out" },
  );
}

function allowLogin(
  named: string | undefined,
  kind: IsolationSpec["kind"],
  { runAs, logins, path }: AgentRules,
  { ownLogin, isRoot }: PathLookup,
): string | undefined {
  if (kind !== "native") {
    if (named === undefined) return undefined;
    throw new OpenboxError("limit_unsupported", `--user ${named} is for native commands`, {
      hint: kind === "docker"
        ? "a container runs as the user that its image names"
        : "in a tree a command runs as its root",
    });
  }
  const own = runAs ?? ownLogin;
  const login = named ?? own;
  if (login !== own && !logins.includes(login)) {
    throw refusal("login_not_allowed", `This node runs no command as ${login}`, { path }, {
      key: "logins",
      allowed: [own, ...logins],
    });
  }
  if (login === ownLogin) return undefined;
  if (!isRoot) {
    throw new OpenboxError(
      "login_not_allowed",
      `This node's agent is not root, so it runs commands as ${ownLogin} only`,
      { hint: `leave --user out, or start the agent as root` },
    );
  }
  return login;
}

async function allowTree(
  root: string,
  rules: AgentRules,
  lookup: PathLookup,
): Promise<IsolationSpec> {
  const { trees } = rules;
  const found = await lookup.find(root);
  const isIn = (await Promise.all(trees.map((tree) => withoutLinks(tree, lookup))))
    .some((tree) => isWithin(found?.path ?? root, tree));
  if (!isIn) {
    const what = `The tree ${root} lies where this node allows none`;
    throw refusal("isolation_not_allowed", what, rules, { key: "nspawn.trees", allowed: trees });
  }
  if (found?.kind !== "directory") {
    const why = found ? "is no directory" : "is not there";
    throw new OpenboxError("isolation_unavailable", `The tree ${root} ${why} on this node`);
  }
  return { kind: "nspawn", root: found.path };
}

function allowCaps(asked: Confinement, rules: AgentRules): Confinement {
  const { caps } = rules;
  const check = (
    limit: Limit,
    wanted: number | undefined,
    cap: number | undefined,
    show: (value: number) => string,
  ) => {
    if (wanted === undefined || cap === undefined || wanted <= cap) return;
    const what = `--${limit} ${show(wanted)} is more than this node allows`;
    throw refusal("limit_not_allowed", what, rules, {
      key: `caps.${limit}`,
      allowed: [`at most ${show(cap)}`],
    });
  };
  check("memory", asked.memoryBytes, caps.memoryBytes, formatSize);
  check("cpus", asked.cpus, caps.cpus, String);
  check("pids", asked.pids, caps.pids, String);
  const { memoryBytes = caps.memoryBytes, cpus = caps.cpus, pids = caps.pids } = asked;
  return {
    ...(memoryBytes !== undefined && { memoryBytes }),
    ...(cpus !== undefined && { cpus }),
    ...(pids !== undefined && { pids }),
  };
}

/** Where none is asked for and the isolation's own is not allowed, the next one that is. */
function allowNet(asked: Net | undefined, kind: IsolationSpec["kind"], rules: AgentRules): Net {
  const allowed = rules.nets[kind];
  if (asked !== undefined) requireNet(kind, asked);
  const net = asked ?? allowed[0];
  if (net !== undefined && allowed.includes(net)) return net;
  const what = asked === undefined
    ? `This node allows no network that ${kind} can have`
    : `This node does not allow --net ${asked} in ${kind}`;
  throw refusal("limit_not_allowed", what, rules, { key: "nets", allowed });
}

function allowGpus({ gpus }: Confinement, rules: AgentRules): Confinement {
  if (gpus === undefined || rules.gpus) return {};
  throw refusal("limit_not_allowed", "This node allows no GPUs", rules, {
    key: "gpus",
    allowed: [],
  });
}

function allowMounts(
  asked: readonly Mount[],
  rules: AgentRules,
  lookup: PathLookup,
): Promise<readonly Mount[]> {
  return Promise.all(asked.map((mount) => allowMount(mount, rules, lookup)));
}

/** What is compared is what is mounted: a link that is changed after the look leads nowhere else. */
async function allowMount(
  mount: Mount,
  rules: AgentRules,
  lookup: PathLookup,
): Promise<Mount> {
  const { source, readOnly } = mount;
  const found = await lookup.find(source);
  const path = found?.path ?? source;
  const fitting: AgentRules["mounts"][number][] = [];
  for (const rule of rules.mounts) {
    if (isWithin(path, await withoutLinks(rule.source, lookup))) fitting.push(rule);
  }
  if (fitting.length === 0) {
    throw refusal("mount_not_allowed", `This node does not allow to mount ${source}`, rules, {
      key: "mounts",
      allowed: rules.mounts.map(({ source, readOnly }) => `${source}${readOnly ? ":ro" : ""}`),
    });
  }
  if (!readOnly && fitting.every((rule) => rule.readOnly)) {
    throw new OpenboxError(
      "mount_not_allowed",
      `This node allows ${source} to be read only, as mounts in ${rules.path} says`,
      { hint: `--mount ${source}:${mount.target}:ro` },
    );
  }
  if (!found) throw new OpenboxError("mount_invalid", `There is no ${source} on this node`);
  if (found.kind === "other") {
    throw new OpenboxError("mount_invalid", `${source} is no file and no directory`);
  }
  for (const kept of lookup.kept) {
    const real = await withoutLinks(kept, lookup);
    if (!isWithin(real, path) && !isWithin(path, real)) continue;
    throw new OpenboxError(
      "mount_not_allowed",
      `${source} is never mounted: ${kept} would give the whole node`,
      { hint: "mount a directory beside it" },
    );
  }
  return { ...mount, source: path };
}

const withoutLinks = async (path: string, lookup: PathLookup): Promise<string> =>
  (await lookup.find(path))?.path ?? path;

const isWithin = (path: string, directory: string): boolean =>
  path === directory || path.startsWith(directory.endsWith("/") ? directory : `${directory}/`);

interface Rule {
  /** As it stands in the file, with its table. */
  readonly key: string;
  readonly allowed: readonly string[];
}

function refusal(
  code: ConstructorParameters<typeof OpenboxError>[0],
  what: string,
  { path }: Pick<AgentRules, "path">,
  { key, allowed }: Rule,
): OpenboxError {
  const list = allowed.length > 0 ? allowed.join(", ") : "none";
  return new OpenboxError(code, `${what}: ${list}`, {
    hint: `the node's owner decides it by ${key} in ${path}`,
  });
}
