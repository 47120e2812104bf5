/** The place where the agent listens. It can move: the new place is open before the old one closes. */
import type { AbortOptions } from "../abort.ts";
import { OpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import { formatAddress, parseAddress } from "../transport/address.ts";
import type { Conn, Listener, Transport } from "../transport/transport.ts";
import type { NodeAddress } from "./address.ts";

export interface Door extends AsyncDisposable {
  /** Where it listens now. */
  readonly addr: string;
  /** Listens where `find` says by now, and returns the address for others. Stays where that cannot be. */
  look(options?: AbortOptions): Promise<string>;
}

export interface DoorDeps {
  readonly transport: Pick<Transport, "listen">;
  /** Undefined where it is not known just now. */
  find(options: AbortOptions): Promise<NodeAddress | undefined>;
  /** Where to listen at first while `find` does not know. */
  readonly otherwise: NodeAddress;
  onConn(conn: Conn): void;
}

/** Throws `conflict` or `bad_setting` where it cannot listen. */
export async function openDoor(deps: DoorDeps, options: AbortOptions = {}): Promise<Door> {
  const { transport, find, otherwise, onConn } = deps;
  let place = await find(options) ?? otherwise;
  let listener: Listener;
  try {
    listener = await transport.listen(formatAddress(place.listen), onConn, options);
  } catch (error) {
    throw cannotListen(formatAddress(place.listen), error);
  }
  const advertised = () => {
    const { host, port } = place.advertise;
    return formatAddress({ host, port: port || parseAddress(listener.addr, "The address").port });
  };

  async function move(next: NodeAddress, options: AbortOptions): Promise<void> {
    if (next.listen.host === place.listen.host) {
      place = next;
      return;
    }
    try {
      const moved = await transport.listen(formatAddress(next.listen), onConn, options);
      const old = listener;
      [listener, place] = [moved, next];
      log("agent").info("moved", { from: old.addr, to: listener.addr });
      await old[Symbol.asyncDispose]();
    } catch (error) {
      log("agent").warn("cannot listen on {addr}; staying where we are", {
        addr: formatAddress(next.listen),
        error,
      });
    }
  }

  return {
    get addr() {
      return listener.addr;
    },
    async look(options = {}) {
      const next = await find(options);
      if (next) await move(next, options);
      return advertised();
    },
    [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose](),
  };
}

function cannotListen(addr: string, error: unknown): OpenboxError {
  const inUse = error instanceof Deno.errors.AddrInUse;
  const why = inUse
    ? "something listens there already"
    : (error as Error).message.replace(/ \(os error \d+\)$/, "");
  return new OpenboxError(inUse ? "conflict" : "bad_setting", `Cannot listen on ${addr}: ${why}`, {
    hint: inUse
      ? "another agent may run here; --addr HOST:PORT listens elsewhere"
      : "--addr HOST:PORT takes an address of this machine",
    cause: error,
  });
}
