/** How bytes travel between a caller and an agent. Both ends prove themselves above it: reaching an agent grants nothing. */
import type { Duplex } from "node:stream";
import type { AbortOptions } from "../abort.ts";

/** One connection. Destroying it closes it; errors arrive as the event, and `close` always follows. */
export interface Conn extends Duplex {
  /** Undefined where the peer was gone before anybody asked. */
  readonly remoteAddress?: string;
  setNoDelay(on?: boolean): this;
}

/** Disposing it stops listening; the connections it brought live on. */
export interface Listener extends AsyncDisposable {
  /** Where it listens, with the port that the system chose where 0 was asked for. */
  readonly addr: string;
}

export interface Transport {
  /** `onConn` owns each connection. What fails later never ends the listener: it waits and goes on. */
  listen(addr: string, onConn: (conn: Conn) => void, options?: AbortOptions): Promise<Listener>;
  /** Rejects with the system's error, or with the signal's reason. */
  dial(addr: string, options: Required<AbortOptions>): Promise<Conn>;
  /** What others can dial to reach a listener on `addr`: never 0.0.0.0. */
  advertise(addr: string): Promise<string>;
}
