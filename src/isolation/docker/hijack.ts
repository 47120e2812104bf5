/**
 * A call of the engine that becomes a stream of bytes both ways. By hand, since node:http reads ahead
 * without bound where nobody reads on: a hundred megabytes of a command's output.
 */
import { concat, text, utf8 } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import type { DockerEndpoint } from "./endpoint.ts";

/** Disposing it closes it. */
export interface Wire extends Disposable {
  /** Undefined at the end. One read at a time. */
  read(): Promise<Uint8Array | undefined>;
  /** Resolves once the system took it all. */
  write(bytes: Uint8Array): Promise<void>;
  /** EOF for the other side, which may go on to answer. */
  closeWrite(): Promise<void>;
}

/** The engine said no; `reason` in its own words. */
export class EngineRefusal extends OpenboxError {
  readonly statusCode: number;
  readonly reason: string;
  constructor(statusCode: number, reason: string) {
    super("docker_unavailable", `Docker refuses it: ${reason}`, {
      hint: "docker's own log on the node says more",
    });
    this.statusCode = statusCode;
    this.reason = reason;
  }
}

export function connectEngine(endpoint: DockerEndpoint): Promise<Deno.Conn> {
  if (endpoint.kind === "unix") {
    return Deno.connect({ transport: "unix", path: endpoint.path });
  }
  const { hostname, port, tls } = endpoint;
  if (!tls) return Deno.connect({ hostname, port });
  const { ca, cert, key } = tls;
  return Deno.connectTls({ hostname, port, caCerts: [ca], cert, key });
}

const MAX_HEAD = 16 * 1024;

/** POST, with the answer 101 or 200 and then the stream. Throws EngineRefusal, or as connecting does. */
export async function hijack(
  endpoint: DockerEndpoint,
  path: string,
  body: unknown,
  signal: AbortSignal,
): Promise<Wire> {
  const conn = await connectEngine(endpoint);
  const giveUp = () => close(conn);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    signal.throwIfAborted();
    const content = utf8(body === undefined ? "" : JSON.stringify(body));
    const head = `POST ${path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\n` +
      `Upgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: ${content.length}\r\n\r\n`;
    await writeAll(conn, concat([utf8(head), content]));
    const rest = await readHead(conn);
    return createWire(conn, rest);
  } catch (error) {
    close(conn);
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

/** Returns what came behind the head. */
async function readHead(conn: Deno.Conn): Promise<Uint8Array> {
  let have = new Uint8Array();
  for (const buffer = new Uint8Array(4096); have.length <= MAX_HEAD;) {
    const n = await conn.read(buffer);
    if (n === null) throw new EngineRefusal(0, "the engine closed the connection");
    have = concat([have, buffer.subarray(0, n)]);
    const end = text(have).indexOf("\r\n\r\n");
    if (end < 0) continue;
    const status = Number(text(have.subarray(9, 12)));
    const rest = have.slice(end + 4);
    if (status === 101 || status === 200) return rest;
    const more = rest.length > 0 ? 0 : await conn.read(buffer) ?? 0;
    throw new EngineRefusal(status, messageOf(text(concat([rest, buffer.subarray(0, more)]))));
  }
  throw new EngineRefusal(0, "the engine's answer is too long");
}

function messageOf(body: string): string {
  return /"message":\s*("(?:[^"\\]|\\.)*")/.exec(body)?.[1]?.slice(1, -1) ?? body.trim();
}

/** What a waiting read holds: little while nothing comes, more once it fills what it gets. */
const MIN_READ = 4 * 1024, MAX_READ = 64 * 1024;

function createWire(conn: Deno.Conn, first: Uint8Array): Wire {
  let rest: Uint8Array | undefined = first.length > 0 ? first : undefined;
  let size = MIN_READ;
  return {
    async read() {
      if (rest) {
        const bytes = rest;
        rest = undefined;
        return bytes;
      }
      const buffer = new Uint8Array(size);
      const n = await conn.read(buffer).catch(() => null); // closed here, or by an engine that died
      if (n === null) return undefined;
      if (n === size) size = Math.min(size * 4, MAX_READ);
      else if (n < size / 4) size = Math.max(size / 4, MIN_READ);
      return buffer.subarray(0, n);
    },
    write: (bytes) => writeAll(conn, bytes),
    closeWrite: () => conn.closeWrite(),
    [Symbol.dispose]: () => close(conn),
  };
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

function close(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // closed already
  }
}
