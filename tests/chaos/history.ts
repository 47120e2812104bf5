/** What the clients of a chaos round saw, and what was found afterwards: the checker holds the one against the other. */
import type { AuditRecord } from "../../src/api/audit.ts";

/** A command that a client sent. It adds a line to a file of its own, and prints `output`. */
export interface RunFact {
  readonly id: string;
  readonly outcome: "exit" | "signal" | "timeout" | "not_started" | "lost";
  readonly code: number;
  /** What a whole run prints, and ends with. */
  readonly wanted: { readonly output: string; readonly code: number };
  readonly got: string;
}

/** A session was asked for and this node was named. */
export interface SessionFact {
  readonly name: string;
  readonly nodeId: string;
}

/** Of all that tried one enrollment token: the nodes that were acknowledged. */
export interface EnrollFact {
  readonly name: string;
  readonly acknowledged: readonly string[];
}

/** A change of one value, in the order in which its only writer made them. */
export interface WriteFact {
  readonly key: string;
  readonly value: string;
  readonly acknowledged: boolean;
}

/** A token that was revoked more than a minute ago was tried. */
export interface RevokedFact {
  readonly id: string;
  /** What took it all the same. */
  readonly accepted: string | undefined;
}

export interface History {
  readonly runs: RunFact[];
  readonly sessions: SessionFact[];
  readonly enrolls: EnrollFact[];
  readonly writes: WriteFact[];
  readonly revoked: RevokedFact[];
  /** Of the certificates that clients were given. */
  readonly serials: string[];
  /** How long each call took that failed, in ms, with what it failed. */
  readonly failures: { readonly code: string; readonly ms: number }[];
}

export const emptyHistory = (): History => ({
  runs: [],
  sessions: [],
  enrolls: [],
  writes: [],
  revoked: [],
  serials: [],
  failures: [],
});

/** What there is once everything runs again. */
export interface Found {
  /** Lines in the file of each run, by its id; absent: none. */
  readonly counters: ReadonlyMap<string, number>;
  /** Node ids by name. */
  readonly nodes: ReadonlyMap<string, readonly string[]>;
  /** Of each key that was written. */
  readonly values: ReadonlyMap<string, string>;
  readonly audit: readonly AuditRecord[];
  readonly auditBad: { readonly seq: number; readonly why: string } | null;
  /** Processes and files that nobody owns any more. */
  readonly leftovers: readonly string[];
}
