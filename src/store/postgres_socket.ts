/** The way to a Postgres server: TCP, and TLS as its address wants it, before the driver says a word. */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { OpenboxError } from "../errors.ts";
import type { PostgresHost, PostgresTls } from "./postgres_dsn.ts";

export interface SocketOptions {
  readonly host: PostgresHost;
  readonly tls: PostgresTls;
  /** The PEM text behind `rootCert`. */
  readonly rootCert: string | undefined;
  readonly signal: AbortSignal;
}

/** The PostgreSQL protocol's SSLRequest. */
const SSL_REQUEST = new Uint8Array([0, 0, 0, 8, 4, 210, 22, 47]);
const KEEP_ALIVE_MS = 30_000;

/** Whoever calls destroys it. Rejects with the signal's reason when that aborts first. */
export async function openPostgresSocket(options: SocketOptions): Promise<Socket> {
  const { host, tls, signal } = options;
  const plain = connectTcp({ host: host.hostname, port: host.port });
  let socket = plain;
  // between those who wait for something here, and until the driver listens, an error would end the process
  plain.on("error", () => {});
  try {
    await settled(plain, "connect", signal);
    plain.setNoDelay(true);
    plain.setKeepAlive(true, KEEP_ALIVE_MS);
    if (tls.kind === "off") return plain;
    plain.write(SSL_REQUEST);
    const [answer] = await settled(plain, "data", signal) as [Uint8Array];
    // one byte and nothing behind it: bytes sent before the handshake would be taken for the server's
    if (answer.length !== 1) throw new Error("the server sent more than its answer to SSLRequest");
    if (answer[0] !== 0x53) {
      if (tls.kind === "offered") return plain;
      throw new OpenboxError("bad_setting", "The Postgres server does not offer TLS", {
        hint: "only where its network is private: sslmode=disable in OPENBOX_DB",
      });
    }
    const verified = tls.kind === "verified";
    socket = connectTls({
      socket: plain,
      ...(isIP(host.hostname) === 0 && { servername: host.hostname }),
      host: host.hostname,
      minVersion: "TLSv1.2",
      rejectUnauthorized: verified,
      ...(options.rootCert !== undefined && { ca: options.rootCert }),
      ...(verified && !tls.hostname && { checkServerIdentity: () => undefined }),
    });
    socket.on("error", () => {});
    await settled(socket, "secureConnect", signal);
    return socket;
  } catch (error) {
    socket.destroy();
    plain.destroy();
    throw error;
  }
}

/** The arguments of the event; rejects when the socket fails or ends, or the signal aborts. */
function settled(socket: Socket, event: string, signal: AbortSignal): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void) => {
      socket.off(event, onEvent).off("error", onError).off("close", onClose);
      signal.removeEventListener("abort", onAbort);
      settle();
    };
    const onEvent = (...values: unknown[]) => done(() => resolve(values));
    const onError = (error: Error) => done(() => reject(error));
    const onClose = () => done(() => reject(new Error("the server closed the connection")));
    const onAbort = () => done(() => reject(signal.reason));
    if (signal.aborted) return reject(signal.reason);
    socket.once(event, onEvent).once("error", onError).once("close", onClose);
    signal.addEventListener("abort", onAbort, { once: true });
    if (event === "data") socket.resume();
  });
}
