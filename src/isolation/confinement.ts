/** How limits and mounts are written, and which isolation can hold which of them at all. */
import { OpenboxError } from "../errors.ts";
import type { Confinement, Mount } from "./backend.ts";
import type { IsolationSpec } from "./spec.ts";

type Kind = IsolationSpec["kind"];
export type Net = NonNullable<Confinement["net"]>;

/** By the names of the flags that ask for them. */
export type Limit =
  | "memory"
  | "cpus"
  | "pids"
  | "shm-size"
  | "gpus"
  | "net"
  | "mount"
  | "volatile";

/** Where a machine lacks what it takes (a cgroup), its backend refuses some of these as well. */
const HELD: Readonly<Record<Kind, readonly Limit[]>> = {
  native: ["memory", "cpus", "pids"],
  docker: ["memory", "cpus", "pids", "shm-size", "gpus", "net", "mount"],
  nspawn: ["memory", "cpus", "pids", "net", "mount", "volatile"],
};

/** The networks that a command can have in there. The first is what it has by itself. */
export const NETS: Readonly<Record<Kind, readonly Net[]>> = {
  native: ["host"],
  docker: ["bridge", "none", "host"],
  nspawn: ["host", "none"],
};

/** Throws `limit_unsupported` where one of these cannot be held: it is never left out instead. */
export function requireHeld(kind: Kind, limits: Iterable<Limit>): void {
  for (const limit of limits) {
    if (HELD[kind].includes(limit)) continue;
    const others = (Object.keys(HELD) as Kind[]).filter((other) => HELD[other].includes(limit));
    throw new OpenboxError("limit_unsupported", `--${limit} cannot be held in ${kind}`, {
      hint: kind === "docker"
        ? "what is written in a container is gone with it anyway"
        : `it can be in ${others.join(" and ")}`,
    });
  }
}

/** Throws `limit_unsupported` where something of it cannot be held in this isolation on any machine. */
export function requireConfinable(kind: Kind, asked: Confinement = {}): void {
  requireHeld(
    kind,
    [...writtenLimits(asked).keys()].filter((limit) => limit !== "net"),
  );
  if (asked.net !== undefined) requireNet(kind, asked.net);
  if (asked.untrusted && kind !== "docker") {
    throw new OpenboxError("limit_unsupported", `${kind} has no profile for untrusted code`);
  }
}

/** Throws `limit_unsupported` where no command can have this network in there. */
export function requireNet(kind: Kind, net: Net): void {
  if (NETS[kind].includes(net)) return;
  throw new OpenboxError("limit_unsupported", `--net ${net} cannot be had in ${kind}`, {
    hint: `it has ${NETS[kind].join(" and ")}`,
  });
}

const LIMITS: Readonly<Record<Limit, keyof Confinement>> = {
  memory: "memoryBytes",
  cpus: "cpus",
  pids: "pids",
  "shm-size": "shmBytes",
  gpus: "gpus",
  net: "net",
  mount: "mounts",
  volatile: "volatile",
};

/** Those that are asked for, as their flags would be written. */
export function writtenLimits(asked: Confinement): ReadonlyMap<Limit, string> {
  const written = new Map<Limit, string>();
  for (const [limit, key] of Object.entries(LIMITS) as [Limit, keyof Confinement][]) {
    const value = asked[key];
    if (value === undefined || value === false) continue;
    if (limit === "mount") {
      if (asked.mounts!.length > 0) written.set(limit, asked.mounts!.map(formatMount).join(" "));
    } else if (key === "memoryBytes" || key === "shmBytes") {
      written.set(limit, formatSize(value as number));
    } else written.set(limit, value === true ? "" : String(value));
  }
  return written;
}

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};
const SIZE = /^(\d{1,15}(?:\.\d{1,6})?)([bkmgt]?)(?:i?b)?$/i;

/** Bytes of `512m`, `1.5g`, `2GiB`, as docker reads them; undefined where it is no size above nothing. */
export function parseSize(text: string): number | undefined {
  const [, number, unit] = SIZE.exec(text) ?? [];
  if (number === undefined) return undefined;
  const bytes = Math.floor(Number(number) * UNITS[(unit || "b").toLowerCase()]!);
  return bytes >= 1 && Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The largest unit that says it exactly. */
export function formatSize(bytes: number): string {
  const unit = ["t", "g", "m", "k"].find((unit) => bytes % UNITS[unit]! === 0);
  return unit ? `${bytes / UNITS[unit]!}${unit}` : String(bytes);
}

/** `all`, a count, or `device=` and ids or numbers, as docker takes them. */
export const isGpus = (text: string): boolean =>
  /^(?:all|[1-9]\d{0,3}|device=[A-Za-z0-9-]+(?:,[A-Za-z0-9-]+)*)$/.test(text);

const MAX_PATH = 4096;
// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/;

/**
 * `SRC[:DST[:ro]]`, both absolute, DST the same path unless said otherwise. A path with a colon cannot be
 * written. Throws `mount_invalid`.
 */
export function parseMount(text: string): Mount {
  const refuse = (why: string): never => {
    throw new OpenboxError("mount_invalid", `The mount ${JSON.stringify(text)}: ${why}`, {
      hint: "--mount /ABSOLUTE/SRC[:/ABSOLUTE/DST[:ro]]",
    });
  };
  if (text.length > MAX_PATH) refuse("too long");
  if (CONTROL.test(text)) refuse("it holds a control character");
  const parts = text.split(":");
  const readOnly = parts.at(-1) === "ro" && parts.length > 1;
  if (readOnly) parts.pop();
  const [source, target = source, ...more] = parts;
  if (more.length > 0) refuse(`after the paths only "ro" can stand`);
  return {
    source: absolute(source!, refuse),
    target: absolute(target!, refuse),
    readOnly,
  };
}

function absolute(path: string, refuse: (why: string) => never): string {
  if (!path.startsWith("/")) return refuse(`${JSON.stringify(path)} is not absolute`);
  const parts = path.split("/").filter((part) => part !== "");
  if (parts.some((part) => part === "." || part === "..")) return refuse("no . and .. in a path");
  if (parts.length === 0) return refuse("the root itself cannot be mounted, nor mounted over");
  return "/" + parts.join("/");
}

const formatMount = ({ source, target, readOnly }: Mount): string =>
  `${source}:${target}${readOnly ? ":ro" : ""}`;
