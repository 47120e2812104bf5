/**
 * `agent/runs.jsonl`: which runs began and ended here, until the control plane has taken it down. A start
 * is in the file before its command starts, so that a killed agent finds at its next start what it had
 * running, and tells it as lost. Without a disk that takes it the events live in memory.
 */
import * as v from "valibot";
import { type RunEnded, RunEvent, type RunStarted } from "../api/run_events.ts";
import { utf8 } from "../bytes.ts";
import type { Clock } from "../clock.ts";
import { toOpenboxError } from "../errors.ts";
import { readPrivateFile, writePrivateFile } from "../home/private_file.ts";
import { newProcessId } from "../ids.ts";
import { log } from "../log.ts";

export interface RunSpool extends AsyncDisposable {
  readonly id: string;
  /** Resolves, with the start's number, when it is in the file. */
  start(run: Omit<RunStarted, "kind" | "n" | "at_ms">): Promise<number>;
  /** Does nothing for a start that was not kept. */
  end(start: number, how: Omit<RunEnded, "kind" | "n" | "at_ms" | "start">): void;
  /** The first of those that nobody has taken down; resolves once there is one. Rejects with the signal's reason. */
  waiting(most: number, signal: AbortSignal): Promise<readonly RunEvent[]>;
  /** Everything up to that number is taken down. */
  delivered(n: number): void;
  /** The control plane takes this one never: it counts as one that was not kept. */
  drop(n: number): void;
}

/** Some 8 MB. What comes beyond it is counted and not kept. */
const MOST_WAITING = 20_000;
/** The file is written anew, without what is done with, beyond that, and when it has doubled since. */
const COMPACT_BYTES = 512 * 1024;
const MAX_BYTES = 64 * 1024 * 1024;

const Head = v.object({ spool: v.string(), next: v.number() });
const Delivered = v.object({ delivered: v.number() });

/** Takes up what an earlier agent left. A file that cannot be read is left behind with a line in the log. */
export async function openRunSpool(
  path: string,
  { clock, mostWaiting = MOST_WAITING }: { clock: Clock; mostWaiting?: number },
): Promise<RunSpool> {
  const left = await readSpool(path);
  const open = new Map<number, RunStarted>();
  const { id } = left;
  let { next, delivered } = left;
  let waiting: RunEvent[] = [], dropped = 0, bytes = 0, compactAt = COMPACT_BYTES;
  let file: Deno.FsFile | undefined, failing = false;
  let lines = "", writing: Promise<void> | undefined;
  let wake = () => {};

  const toLine = (line: unknown) => `${JSON.stringify(line)}\n`;
  const compacted = () =>
    toLine({ spool: id, next }) + toLine({ delivered }) +
    [...new Map([...open.values(), ...waiting].map((event) => [event.n, event])).values()]
      .map(toLine).join("");

  async function write(): Promise<void> {
    // in the next turn, so that what comes together is one write
    await Promise.resolve();
    while (lines !== "" || bytes > compactAt) {
      try {
        if (!file || bytes > compactAt) {
          lines = "";
          const all = compacted();
          file?.close();
          file = undefined;
          await writePrivateFile(path, all);
          file = await Deno.open(path, { append: true });
          bytes = all.length;
          compactAt = Math.max(COMPACT_BYTES, 2 * bytes);
        } else {
          const part = utf8(lines);
          lines = "";
          for (let at = 0; at < part.length;) at += await file.write(part.subarray(at));
          bytes += part.length;
        }
        failing = false;
      } catch (error) {
        // what runs must not depend on a full disk; one line says so
        if (!failing) {
          log("agent", "run").error("runs cannot be kept for the audit: {error}", {
            error: toOpenboxError(error),
          });
        }
        failing = true;
        bytes = 0;
        file?.close();
        file = undefined;
        break;
      }
    }
    writing = undefined;
  }

  const append = (line: unknown): Promise<void> => {
    lines += toLine(line);
    return writing ??= write();
  };

  const keep = (event: RunEvent): Promise<void> => {
    waiting.push(event);
    wake();
    return append(event);
  };

  function take(make: (n: number, at_ms: number) => RunEvent): { n: number; kept: Promise<void> } {
    const at = clock.now();
    if (waiting.length >= mostWaiting) {
      dropped++;
      return { n: 0, kept: Promise.resolve() };
    }
    if (dropped > 0) {
      void keep({ kind: "gap", n: next++, at_ms: at, dropped });
      dropped = 0;
    }
    const n = next++;
    return { n, kept: keep(make(n, at)) };
  }

  const spool: RunSpool = {
    id,
    async start(run) {
      const { n, kept } = take((n, at_ms) => {
        const started: RunStarted = { kind: "start", n, at_ms, ...run };
        open.set(n, started);
        return started;
      });
      await kept;
      return n;
    },
    end(start, how) {
      if (!open.delete(start)) return;
      void take((n, at_ms) => ({ kind: "end", n, at_ms, start, ...how }));
    },
    async waiting(most, signal) {
      while (waiting.length === 0) {
        await new Promise<void>((resolve, reject) => {
          const stop = () => reject(signal.reason);
          if (signal.aborted) return stop();
          signal.addEventListener("abort", stop, { once: true });
          wake = () => {
            signal.removeEventListener("abort", stop);
            resolve();
          };
        });
      }
      return waiting.slice(0, most);
    },
    delivered(n) {
      waiting = waiting.filter((event) => event.n > n);
      delivered = Math.max(delivered, n);
      void append({ delivered });
    },
    drop(n) {
      dropped++;
      spool.delivered(n);
    },
    async [Symbol.asyncDispose]() {
      while (writing) await writing;
      file?.close();
      file = undefined;
    },
  };

  for (const event of left.events) {
    if (event.kind === "start") open.set(event.n, event);
    if (event.kind === "end") open.delete(event.start);
    if (event.n > delivered) waiting.push(event);
  }
  for (const { n, run_id, user_id, serial } of [...open.values()]) {
    const gone = {
      outcome: "lost",
      code: null,
      signal: null,
      error: null,
      duration_ms: null,
    } as const;
    spool.end(n, { run_id, user_id, serial, ...gone });
  }
  return spool;
}

interface Left {
  readonly id: string;
  readonly next: number;
  readonly delivered: number;
  readonly events: readonly RunEvent[];
}

async function readSpool(path: string): Promise<Left> {
  const none: Left = { id: newProcessId(), next: 1, delivered: 0, events: [] };
  let text: string | undefined;
  try {
    text = await readPrivateFile(path, { maxBytes: MAX_BYTES });
  } catch (error) {
    log("agent", "run").error("the runs of before cannot be read: {error}", {
      error: toOpenboxError(error),
    });
  }
  if (text === undefined) return none;
  let head: v.InferOutput<typeof Head> | undefined, delivered = 0;
  const events: RunEvent[] = [];
  for (const line of text.split("\n")) {
    const json = parseLine(line); // the last one may be cut off
    const event = v.safeParse(RunEvent, json), mark = v.safeParse(Delivered, json);
    if (!head) {
      const first = v.safeParse(Head, json);
      if (!first.success) return none;
      head = first.output;
    } else if (event.success) events.push(event.output);
    else if (mark.success) delivered = Math.max(delivered, mark.output.delivered);
  }
  if (!head) return none;
  const next = Math.max(head.next, delivered + 1, ...events.slice(-1).map(({ n }) => n + 1));
  return { id: head.spool, next, delivered, events };
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
