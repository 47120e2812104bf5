/** A syslog that takes messages of RFC 5424 over TCP (framed by their length, RFC 6587) or UDP. */
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import { abortable, deadline } from "../abort.ts";
import { concat, utf8 } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";

export interface SyslogAddress {
  readonly protocol: "tcp" | "udp";
  readonly host: string;
  readonly port: number;
}

const DEFAULT_PORT = { tcp: 601, udp: 514 } as const;

/** `tcp://HOST[:PORT]` or `udp://HOST[:PORT]`. Throws `bad_setting`. */
export function parseSyslogAddress(text: string, setting: string): SyslogAddress {
  const [, protocol, v6, name, port] =
    /^(tcp|udp):\/\/(?:\[([0-9a-fA-F:.]+)\]|([^:/[\]\s]+))(?::(\d{1,5}))?\/?$/.exec(text) ?? [];
  const host = v6 ?? name;
  if (protocol === undefined || host === undefined || Number(port ?? 1) > 65_535) {
    throw new OpenboxError("bad_setting", `${setting} ${JSON.stringify(text)} is no syslog`, {
      hint: "tcp://HOST:601 or udp://HOST:514",
    });
  }
  const kind = protocol as SyslogAddress["protocol"];
  return { protocol: kind, host, port: port === undefined ? DEFAULT_PORT[kind] : Number(port) };
}

export interface SyslogMessage {
  /** Epoch milliseconds. */
  readonly at: number;
  /** `warning` for what was refused. */
  readonly severity: "warning" | "notice";
  /** What it is, such as `audit` or `audit-head`. */
  readonly id: string;
  /** One line. */
  readonly text: string;
}

/** Facility 13 is "log audit". */
const FACILITY = 13, SEVERITY = { warning: 4, notice: 5 } as const;

export function formatSyslog(
  { at, severity, id, text }: SyslogMessage,
  { hostname, pid }: { readonly hostname: string; readonly pid: number },
): Uint8Array {
  const priority = FACILITY * 8 + SEVERITY[severity];
  const time = new Date(at).toISOString();
  return utf8(`<${priority}>1 ${time} ${hostname} openbox ${pid} ${id} - ${text}`);
}

/** Of all messages of a call. */
const SEND_MS = 5000;

/** Resolves when the system has taken all of them: what the far end makes of them nobody says. */
export async function sendSyslog(
  { protocol, host, port }: SyslogAddress,
  messages: readonly Uint8Array[],
): Promise<void> {
  const late = () => new OpenboxError("unavailable", `The syslog at ${host}:${port} takes nothing`);
  using limit = deadline(SEND_MS, late);
  await (protocol === "tcp" ? sendTcp : sendUdp)(host, port, messages, limit.signal);
}

async function sendTcp(
  host: string,
  port: number,
  messages: readonly Uint8Array[],
  signal: AbortSignal,
): Promise<void> {
  const socket = connect({ host, port });
  const failed = new Promise<never>((_, reject) => socket.once("error", reject));
  failed.catch(() => {});
  try {
    const frames = messages.flatMap((message) => [utf8(`${message.length} `), message]);
    const sent = new Promise<void>((resolve) => socket.end(concat(frames), () => resolve()));
    // the far end closes when it has read to ours: until then it may be gone with what was on its way
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    socket.resume();
    await abortable(Promise.race([failed, sent.then(() => closed)]), signal);
  } finally {
    socket.destroy();
  }
}

async function sendUdp(
  host: string,
  port: number,
  messages: readonly Uint8Array[],
  signal: AbortSignal,
): Promise<void> {
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  try {
    for (const message of messages) {
      const sent = new Promise<void>((resolve, reject) =>
        socket.send(message, port, host, (error) => error ? reject(error) : resolve())
      );
      await abortable(sent, signal);
    }
  } finally {
    socket.close();
  }
}
