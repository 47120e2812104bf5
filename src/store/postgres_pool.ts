/**
 * Connections, lent for one transaction or statement each and only until a deadline: one that has not
 * answered by then is cut, so that the server undoes what it was doing and nobody waits on.
 *
 * While the database is away one connection at a time tries to reach it, whatever waits: a server that
 * comes back must not meet a crowd.
 */
import { log } from "../log.ts";
import type { PostgresConnection } from "./postgres_connection.ts";
import { ConnectionLost, refusalOf, Unreachable } from "./postgres_errors.ts";

export interface PoolOptions {
  /** A new connection, or its failure; `onEnd` is called when it has ended. */
  connect(onEnd: () => void, signal: AbortSignal): Promise<PostgresConnection>;
  readonly max: number;
}

export interface PostgresPool extends AsyncDisposable {
  /** By `performance.now()`. Rejects with why there is none, when `endsAt` has come. */
  lend(endsAt: number): Promise<Lease>;
  /** Open connections and those that are being opened. */
  readonly size: number;
}

/** A connection until it is given back. */
export interface Lease {
  readonly connection: PostgresConnection;
  readonly endsAt: number;
  giveBack(): void;
}

interface Waiter {
  readonly take: (connection: PostgresConnection) => void;
  readonly fail: (error: Error) => void;
}

/** Firewalls forget a connection that is silent; ours is not used again after this. */
const MOST_IDLE_MS = 60_000;
const FIRST_PAUSE_MS = 50, LONGEST_PAUSE_MS = 1000;

const allInUse = () => new Error("All connections to the database are in use");

export function createPostgresPool({ connect, max }: PoolOptions): PostgresPool {
  const idle: PostgresConnection[] = [], all = new Set<PostgresConnection>();
  const waiters = new Set<Waiter>();
  const opens = new Set<Promise<void>>(), closing = new AbortController();
  let failures = 0, notBefore = 0;
  let lastFailure: Error | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;

  const size = () => all.size + opens.size;

  function failed(error: Error): void {
    if (failures === 0) log("store").error("the database does not answer", { error });
    lastFailure = error;
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures++);
    notBefore = performance.now() + pause * (0.5 + Math.random() / 2);
  }

  function grow(): void {
    if (closing.signal.aborted || waiters.size <= opens.size || size() >= max) return;
    if (failures > 0 && opens.size > 0) return;
    const pause = notBefore - performance.now();
    if (pause > 0) {
      retry ??= setTimeout(() => {
        retry = undefined;
        grow();
      }, pause);
      return;
    }
    const opening = open().finally(() => {
      opens.delete(opening);
      grow();
    });
    opens.add(opening);
    grow();
  }

  async function open(): Promise<void> {
    try {
      let made: PostgresConnection | undefined = undefined;
      const connection = made = await connect(() => made && remove(made), closing.signal);
      all.add(connection);
      if (!connection.alive) return remove(connection);
      if (failures > 0) log("store").info("the database answers again");
      failures = notBefore = 0;
      offer(connection);
    } catch (error) {
      if (closing.signal.aborted) return;
      failed(error as Error);
      if (!refusalOf(error)) return;
      for (const waiter of waiters) waiter.fail(new Unreachable(error as Error));
    }
  }

  function remove(connection: PostgresConnection): void {
    all.delete(connection);
    const at = idle.indexOf(connection);
    if (at >= 0) idle.splice(at, 1);
    grow();
  }

  function offer(connection: PostgresConnection): void {
    if (!connection.alive) return;
    const [waiter] = waiters;
    if (waiter) return waiter.take(connection);
    connection.idleSince = performance.now();
    idle.push(connection);
  }

  function takeIdle(): PostgresConnection | undefined {
    // the one used last: the others grow old and go
    for (let connection; (connection = idle.pop());) {
      if (performance.now() - connection.idleSince < MOST_IDLE_MS) return connection;
      connection.destroy(new ConnectionLost("idle for too long"));
    }
  }

  function lease(connection: PostgresConnection, endsAt: number): Lease {
    const timer = setTimeout(() => {
      const error = new ConnectionLost("The database did not answer in time");
      failed(error);
      connection.destroy(error);
    }, endsAt - performance.now());
    return {
      connection,
      endsAt,
      giveBack() {
        clearTimeout(timer);
        offer(connection);
      },
    };
  }

  return {
    get size() {
      return size();
    },
    async lend(endsAt) {
      if (closing.signal.aborted) throw closing.signal.reason;
      const connection = takeIdle() ?? await new Promise<PostgresConnection>((resolve, reject) => {
        const settle = (act: () => void) => {
          clearTimeout(timer);
          waiters.delete(waiter);
          act();
        };
        const waiter: Waiter = {
          take: (connection) => settle(() => resolve(connection)),
          fail: (error) => settle(() => reject(error)),
        };
        const timer = setTimeout(
          () => waiter.fail(new Unreachable(failures > 0 ? lastFailure! : allInUse())),
          endsAt - performance.now(),
        );
        waiters.add(waiter);
        grow();
      });
      return lease(connection, endsAt);
    },
    async [Symbol.asyncDispose]() {
      const error = new Unreachable(new Error("The store is closed"));
      closing.abort(error);
      clearTimeout(retry);
      for (const waiter of waiters) waiter.fail(error);
      await Promise.all([...opens]);
      await Promise.all([...all].map((connection) => connection.close()));
    },
  };
}
