/** The flags of `run` and the bare form, in one table for the splitter that reads them, the help and the completion. */
import type { Limit } from "../isolation/confinement.ts";

export interface RunFlag {
  /** Long name, without dashes. */
  readonly name: RunFlagName;
  readonly short?: string;
  /** Placeholder of its value; a flag without one is a switch. */
  readonly value?: string;
  /** Says where the command runs: given one, the bare form runs a remote command. */
  readonly target?: true;
  /** May be given more than once. */
  readonly repeat?: true;
  readonly brief: string;
}

export type RunFlagName =
  | "tag"
  | "node"
  | "session"
  | "docker"
  | "nspawn"
  | "isolate"
  | "timeout"
  | "cwd"
  | "env"
  | "user"
  | Limit
  | "tty"
  | "no-tty"
  | "json";

export const RUN_FLAGS: readonly RunFlag[] = [
  { name: "tag", short: "t", value: "TAG", target: true, brief: "On a node with this tag" },
  { name: "node", short: "n", value: "NODE", target: true, brief: "On this node: its id or name" },
  {
    name: "session",
    short: "s",
    value: "NAME",
    target: true,
    brief: "In a shell that stays, under this name, on one node",
  },
  { name: "docker", value: "IMAGE", target: true, brief: "In a container of this image" },
  { name: "nspawn", value: "DIR", target: true, brief: "In the operating system tree under DIR" },
  {
    name: "isolate",
    value: "SPEC",
    target: true,
    brief: "native, docker:IMAGE or nspawn:DIR (default native)",
  },
  {
    name: "timeout",
    value: "TIME",
    brief: "End it after so long, such as 90s or 1h30m; exit code 124",
  },
  { name: "cwd", short: "C", value: "DIR", brief: "Start in DIR; relative to the home there" },
  {
    name: "env",
    short: "e",
    value: "NAME[=VALUE]",
    repeat: true,
    brief: "Set a variable; without a value, to what it is here",
  },
  { name: "user", value: "LOGIN", brief: "As this user of the node, where its owner allows it" },
  { name: "memory", value: "SIZE", brief: "At most so much memory, such as 512m or 2g" },
  { name: "cpus", value: "N", brief: "At most so many cores; 0.5 is half of one" },
  { name: "pids", value: "N", brief: "At most so many processes and threads" },
  {
    name: "mount",
    value: "SRC[:DST[:ro]]",
    repeat: true,
    brief: "With this path of the node, in a container or tree",
  },
  { name: "net", value: "NET", brief: "bridge, host or none, in a container or tree" },
  { name: "gpus", value: "GPUS", brief: "all, a count, or device=ID,…; in a container" },
  { name: "shm-size", value: "SIZE", brief: "Size of /dev/shm; in a container" },
  { name: "volatile", brief: "What is written to the tree is gone at the end" },
  { name: "tty", brief: "With a terminal, which a run without a command has anyway" },
  { name: "no-tty", short: "T", brief: "Never with a terminal" },
  { name: "json", brief: "Output, and how it ended, as JSON lines" },
];

/** What stood on the command line: the values of each flag given, in order; a switch has one empty value. */
export type RunFlagValues = ReadonlyMap<RunFlagName, readonly string[]>;
