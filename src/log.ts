/**
 * The log of a service: one line an event on stderr, text for a person at a terminal, JSON elsewhere.
 * Values are escaped, so that nothing a peer sent can forge a line; what of them may be shown is said in
 * log_value.ts.
 */
import { configure, dispose, getLogger, type Logger, type LogRecord } from "@logtape/logtape";
import { utf8 } from "./bytes.ts";
import { escape } from "./escape.ts";
import type { Host } from "./host.ts";
import { toLogValue } from "./log_value.ts";

export type { Logger };

/** The logger of one part, such as `log("agent", "ssh")`. Silent until `startLog`. */
export const log = (...category: [string, ...string[]]): Logger =>
  getLogger(["openbox", ...category]);

export interface LogOptions {
  /** `json` unless stderr is a terminal. */
  readonly format?: "text" | "json";
  readonly level?: "debug" | "info" | "warning" | "error";
}

/** Lines of so short a time leave in one write: a busy service would pay for each of them. */
const GATHER_MS = 20;
/** What waits for a reader that does not read; more is dropped, and the next line says how many. */
const MAX_WAITING = 1024 * 1024;

export interface RunningLog extends AsyncDisposable {
  /** Resolves when what was logged so far is written. */
  flush(): Promise<void>;
}

/** Sends every log of this process to `host.stderr`; dispose it last. */
export async function startLog(host: Host, options: LogOptions = {}): Promise<RunningLog> {
  const format = options.format ?? (host.stderr.isTerminal() ? "text" : "json");
  const toLine = format === "json" ? jsonLine : textLine;
  const output = gatherLines(host);
  await configure({
    reset: true,
    sinks: { stderr: (record) => output.add(toLine(record)) },
    loggers: [
      { category: "openbox", sinks: ["stderr"], lowestLevel: options.level ?? "info" },
      { category: ["logtape", "meta"], sinks: ["stderr"], lowestLevel: "error" },
    ],
  });
  return {
    flush: () => output.flush(),
    async [Symbol.asyncDispose]() {
      await output.flush();
      await dispose();
    },
  };
}

/** A log that cannot be written, its reader being gone, must not end the service. */
function gatherLines({ stderr }: Host): { add(line: string): void; flush(): Promise<void> } {
  let waiting = "", dropped = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let writing: Promise<void> | undefined;
  async function write(): Promise<void> {
    while (waiting !== "") {
      const lines = waiting;
      waiting = "";
      await stderr.write(utf8(lines)).catch(() => {});
    }
    writing = undefined;
  }
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    if (!writing && waiting !== "") writing = write();
    return writing ?? Promise.resolve();
  };
  return {
    add(line) {
      if (waiting.length > MAX_WAITING) return void dropped++;
      if (dropped > 0) waiting += `(${dropped} lines were dropped: nobody read them)\n`;
      dropped = 0;
      waiting += line;
      if (!writing) timer ??= setTimeout(flush, GATHER_MS);
    },
    flush,
  };
}

const message = (record: LogRecord): string =>
  plain(record.message.map((part) => typeof part === "string" ? part : plain(part)).join(""));

function jsonLine(record: LogRecord): string {
  const { properties, timestamp, level, category } = record;
  const line = {
    time: new Date(timestamp).toISOString(),
    level,
    part: category.slice(1).join("."),
    message: message(record),
    ...toLogValue(properties) as object,
  };
  // JSON leaves direction marks and the like as they are; as escapes they mean the same
  return escape(JSON.stringify(line)) + "\n";
}

function textLine(record: LogRecord): string {
  const fields = Object.entries(record.properties).map(([key, value]) => ` ${key}=${plain(value)}`);
  const time = new Date(record.timestamp).toISOString().slice(11, 19);
  const text = `${message(record)}${fields.join("")}`;
  return `${time} ${record.level.padEnd(7)} ${record.category.slice(1).join(".")}: ${
    escape(text)
  }\n`;
}

function plain(value: unknown): string {
  const shown = toLogValue(value);
  return typeof shown === "string" ? shown : JSON.stringify(shown);
}
