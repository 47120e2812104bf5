/**
 * One connection to Postgres, with one life: it is never opened again, so that no statement of a
 * transaction can reach another one. `postgres` speaks the protocol; sockets, deadlines and the pool are
 * ours, since its own pool hangs on servers that accept and close, or accept and are silent.
 */
import type { Socket } from "node:net";
import postgres from "postgres";
import type { PostgresDsn, PostgresHost } from "./postgres_dsn.ts";
import { CommitUnknown, ConnectionLost, verdictOf } from "./postgres_errors.ts";
import { openPostgresSocket } from "./postgres_socket.ts";

export interface Answer {
  readonly rows: Record<string, unknown>[];
  readonly command: string;
  readonly count: number | null;
  /** Which process of the server answered, as it said when the connection was made. */
  readonly process: number | undefined;
}

export interface PostgresConnection {
  readonly alive: boolean;
  /** When it was last given back, by `performance.now()`. */
  idleSince: number;
  query(text: string, parameters: readonly unknown[]): Promise<Answer>;
  /** Rejects with `CommitUnknown` where the answer did not come. */
  commit(): Promise<void>;
  /** Ends it at once; what waits for an answer gets this error. */
  destroy(why: Error): void;
  /** Takes leave of the server, within a second. */
  close(): Promise<void>;
}

export interface ConnectOptions {
  readonly dsn: PostgresDsn;
  readonly host: PostgresHost;
  readonly rootCert: string | undefined;
  readonly signal: AbortSignal;
  readonly onEnd: () => void;
}

/** Our texts are fewer; those that vary are planned each time. */
const MOST_PREPARED = 300;

/** Rejects where the server is one that takes no writes. */
export async function connectPostgres(options: ConnectOptions): Promise<PostgresConnection> {
  const { dsn, host, rootCert, signal } = options;
  const socket = await openPostgresSocket({ host, tls: dsn.tls, rootCert, signal });
  let ended: Error | undefined, direct = false;
  const prepared = new Set<string>();
  const waiting = new Set<(why: Error) => void>();
  function end(why: Error): void {
    if (ended) return;
    ended = why;
    socket.destroy();
    for (const reject of waiting) reject(why);
    sql.end({ timeout: 0 }).catch(() => {});
    options.onEnd();
  }
  const sql = postgres({
    ...driverOptions(dsn),
    host: host.hostname,
    port: host.port,
    socket: onlyOnce(socket),
    onclose: () => end(new ConnectionLost("The database closed the connection")),
  } as postgres.Options<Record<never, never>>);
  socket.once("close", () => end(new ConnectionLost("The database closed the connection")));
  if (socket.destroyed) end(new ConnectionLost("The database closed the connection"));

  function mayPrepare(text: string, parameters: readonly unknown[]): boolean {
    // the driver prepares none without parameters, and those that begin a transaction or lock vary
    if (!direct || parameters.length === 0) return false;
    if (prepared.size < MOST_PREPARED) prepared.add(text);
    return prepared.has(text);
  }

  function query(text: string, parameters: readonly unknown[]): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (ended) return reject(ended);
      waiting.add(reject);
      const prepare = mayPrepare(text, parameters);
      inOneMessage(sql.unsafe(text, parameters as never[], { prepare })).then(
        (result) => {
          waiting.delete(reject);
          const { command, count, state } = result;
          resolve({ rows: result, command, count, process: state?.pid });
        },
        (error) => {
          waiting.delete(reject);
          if (isOfSocket(error)) end(new ConnectionLost(error.message, { cause: error }));
          reject(ended ?? error);
        },
      );
    });
  }

  const onAbort = () => end(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal.aborted) throw signal.reason;
    const { rows: [server], process } = await query(
      "select current_setting('transaction_read_only') as read_only, pg_backend_pid() as process",
      [],
    );
    if (server!.read_only !== "off") throw new ReadOnlyServer(host.hostname);
    // a pooler has numbers of its own, and may give each transaction another server: nothing can be
    // prepared there; without one it saves a round trip and the planning
    direct = server!.process === process;
  } catch (error) {
    const why = ended ?? error;
    end(why as Error);
    throw why;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
  return {
    get alive() {
      return ended === undefined;
    },
    idleSince: 0,
    query,
    async commit() {
      let answer: Answer;
      try {
        answer = await query("commit", []);
      } catch (error) {
        // also told that the server ends it: that may have come behind the commit
        throw ended || verdictOf(error) === "elsewhere"
          ? new CommitUnknown("The database went away in a commit", { cause: error })
          : error;
      }
      // a transaction that had failed is undone instead, and the server calls that no error
      if (answer.command !== "COMMIT") throw new Error("The transaction had failed and was undone");
    },
    destroy: end,
    async close() {
      await sql.end({ timeout: 1 });
      end(new ConnectionLost("The store is closed"));
    },
  };
}

/** Such a server answers, and everything that changes something would fail: another one is to be found. */
export class ReadOnlyServer extends Error {
  override readonly name = "ReadOnlyServer";
  constructor(hostname: string) {
    super(`The Postgres server ${hostname} takes no writes: it is a standby, or read-only`);
  }
}

/**
 * The driver asks for the types of parameters first, and sends them when it knows. In between no time-out
 * of the server runs: a process that stands still there holds its locks for ever. The server finds the
 * types by itself, so all goes at once. This is a field of the driver's own, whose version is pinned.
 */
function inOneMessage<Query extends object>(query: Query): Query {
  return Object.defineProperty(query, "describeFirst", { get: () => false, set: () => {} });
}

/** As Node tells of sockets, and the driver of its connections; all else came from the server. */
const isOfSocket = ({ code }: { readonly code?: unknown }): boolean =>
  typeof code === "string" && /^(CONNECT|E[A-Z])/.test(code);

/** The driver would connect again by itself; that has to fail. */
function onlyOnce(socket: Socket): () => Promise<Socket> {
  let given = false;
  return () => {
    if (given) return Promise.reject(new ConnectionLost("The connection has ended"));
    given = true;
    return Promise.resolve(socket);
  };
}

const driverOptions = ({ user, password, database, applicationName, options }: PostgresDsn) => ({
  user,
  // as a function it does not lie about in the driver's options
  password: () => password.reveal(),
  database,
  ssl: false,
  max: 1,
  prepare: true,
  fetch_types: false,
  no_subscribe: true,
  idle_timeout: 0,
  max_lifetime: 0,
  connect_timeout: 0,
  keep_alive: 0,
  connection: { application_name: applicationName, ...(options !== undefined && { options }) },
  // int8: our numbers are times and serials, far below 2^53
  types: {
    bigint: { to: 20, from: [20], parse: Number, serialize: String },
    bytea: {
      to: 17,
      from: [17],
      parse: (text: string) => Uint8Array.fromHex(text.slice(2)),
      serialize: (bytes: Uint8Array) => `\\x${bytes.toHex()}`,
    },
  },
  onnotice: () => {},
});
