/** The JSON that crosses the local socket, in shape only: the hot path imports no schema. */
import type { RunCommand } from "../client/run_command.ts";
import type { Target } from "../client/target.ts";

/** Of the frames and of these shapes. Another number is another daemon: nothing is asked of it. */
export const PROTOCOL = 1;

export interface Hello {
  readonly protocol: number;
  /** Of the program that the daemon runs. */
  readonly version: string;
  /** Of the login and the settings that it has read (generation.ts). */
  readonly generation: string;
  /** It has been told to end, or that people want none: a call goes another way. */
  readonly closing: boolean;
}

export interface Call {
  readonly run_id: string;
  readonly target: Target;
  readonly command: RunCommand;
}

export interface Started {
  readonly node_id: string;
  readonly node_name: string;
  readonly session_bound: boolean;
  /** What the person is to be told at each call, such as that the token ends soon. */
  readonly warnings: readonly string[];
}

/** An OpenboxError on its way. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly warnings: readonly string[];
}

/** `retire`: end once nothing runs any more; `stop`: end now, what runs being cancelled after a while. */
export type Ask =
  | { readonly ask: "status" | "stop" | "retire" }
  /** A session ended: where it was counts no more. */
  | { readonly ask: "forget"; readonly session: string };

export interface DaemonStatus {
  readonly pid: number;
  readonly version: string;
  /** Epoch seconds. */
  readonly started_at: number;
  readonly connections: readonly {
    readonly node_id: string;
    readonly node_name: string;
    readonly runs: number;
    /** Epoch seconds until which new commands can use it. */
    readonly ends_at: number;
  }[];
  readonly runs: number;
  /** Null while something runs or where it never ends by itself. */
  readonly idle_end_in_seconds: number | null;
  /** That wait in its process: a count that grows is a leak. */
  readonly timers: number;
}
