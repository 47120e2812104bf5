/** The flags of `run` that limit, mount and connect: read, and held against the isolation, before anything is sent. */
import type { RunLimits } from "../api/run.ts";
import { OpenboxError } from "../errors.ts";
import {
  isGpus,
  type Limit,
  NETS,
  parseMount,
  parseSize,
  requireHeld,
} from "../isolation/confinement.ts";
import type { IsolationSpec } from "../isolation/spec.ts";
import { RUN_FLAGS, type RunFlagValues } from "./run_flags.ts";

const LIMITS: readonly Limit[] = [
  "memory",
  "cpus",
  "pids",
  "shm-size",
  "gpus",
  "net",
  "mount",
  "volatile",
];

/** `kind` is undefined where the node knows it: in a session that is there. Throws `usage`, `mount_invalid` or `limit_unsupported`. */
export function readLimits(
  flags: RunFlagValues,
  kind: IsolationSpec["kind"] | undefined,
): RunLimits {
  const given = LIMITS.filter((limit) => flags.has(limit));
  if (kind) requireHeld(kind, given);
  const read = <T>(limit: Limit, parse: (text: string) => T | undefined, form: string) => {
    const text = flags.get(limit)?.[0];
    if (text === undefined) return undefined;
    const value = parse(text);
    if (value !== undefined) return value;
    throw new OpenboxError("usage", `--${limit} ${JSON.stringify(text)}: not ${form}`, {
      hint: `--${limit} ${RUN_FLAGS.find(({ name }) => name === limit)!.value}; openbox help run`,
    });
  };
  const size = "a size such as 512m or 2g";
  const limits = withoutAbsent({
    memory_bytes: read("memory", parseSize, size),
    cpus: read("cpus", parseCpus, "a number of cores such as 2 or 0.5"),
    pids: read("pids", parseCount, "a whole number from 1"),
    shm_bytes: read("shm-size", parseSize, size),
  });
  const mounts = flags.get("mount") ?? [];
  mounts.forEach(parseMount);
  return withoutAbsent({
    limits: Object.keys(limits).length > 0 ? limits : undefined,
    mounts: mounts.length > 0 ? [...mounts] : undefined,
    gpus: read("gpus", (text) => isGpus(text) ? text : undefined, "all, a count or device=ID,…"),
    net: read("net", (text) => nets(kind).find((net) => net === text), nets(kind).join(" or ")),
    volatile: flags.has("volatile") || undefined,
  });
}

const nets = (kind: IsolationSpec["kind"] = "docker") => NETS[kind];

function parseCpus(text: string): number | undefined {
  const cpus = Number(text);
  return /^\d{1,6}(\.\d{1,6})?$/.test(text) && cpus >= 0.01 ? cpus : undefined;
}

const parseCount = (text: string): number | undefined =>
  /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined;

function withoutAbsent<T extends object>(all: T): T {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as T;
}
