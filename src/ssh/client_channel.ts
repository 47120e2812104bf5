/** A session channel on the asking end, once its exec or subsystem request was granted. */
import { abortable, type AbortOptions } from "../abort.ts";
import type { ClientChannel, RemoteExit } from "./channel.ts";
import { type Channel, ChannelRefusedError, type Connection } from "./connection.ts";
import { sizeFields } from "./screen.ts";
import { type Reader, str } from "./wire.ts";

/** Requests of types that this layer does not know are kept for `received`, so many and so large at most. */
const MAX_KEPT = 16, MAX_KEPT_BYTES = 64 * 1024;
/** How long disposing waits for the far end's close. */
const CLOSE_MS = 2000;

/** A session channel that is open and was not said yet what it is for. */
export interface PreparedChannel {
  /** Asks for a subsystem, once; `input` leaves with it, and a refusal is what the channel's `exit` rejects with. */
  begin(subsystem: string, input: Uint8Array): ClientChannel;
  /** The far end, or the connection, has closed it. */
  readonly isGone: boolean;
}

interface Opened {
  readonly channel: Channel;
  readonly received: Received;
}

/** What the far end asks of this end. */
interface Received {
  exit: RemoteExit | undefined;
  readonly kept: Map<string, Uint8Array>;
  readonly handlers: Map<string, (payload: Uint8Array) => void>;
}

export async function prepareChannel(connection: Connection): Promise<PreparedChannel> {
  const opened = await openSession(connection, undefined);
  let isGone = false;
  void opened.channel.closed.then(() => isGone = true);
  return {
    begin: (subsystem, input) => begin(opened, "subsystem", subsystem, input),
    get isGone() {
      return isGone;
    },
  };
}

export async function openClientChannel(
  connection: Connection,
  kind: "exec" | "subsystem",
  what: string,
  { signal, input }: AbortOptions & { readonly input?: Uint8Array },
): Promise<ClientChannel> {
  const opened = await openSession(connection, signal);
  if (input) return begin(opened, kind, what, input);
  const { channel } = opened;
  try {
    const granted = await abortable(channel.ask(kind, str(what)), signal);
    if (!granted) throw await refusal(channel, kind);
  } catch (error) {
    channel.sendClose();
    throw error;
  }
  return clientChannel(opened, () => undefined);
}

async function openSession(
  connection: Connection,
  signal: AbortSignal | undefined,
): Promise<Opened> {
  const received: Received = { exit: undefined, kept: new Map(), handlers: new Map() };
  const opening = connection.openSession({
    onRequest(_, type, fields) {
      keep(received, type, fields);
      return false;
    },
  });
  try {
    return { channel: await abortable(opening, signal), received };
  } catch (error) {
    opening.then((late) => late.sendClose(), () => {}); // opened after nobody waited
    throw error;
  }
}

function keep(received: Received, type: string, fields: Reader): void {
  if (type === "exit-status" || type === "exit-signal") {
    received.exit ??= readExit(type, fields);
    return;
  }
  const { kept, handlers } = received;
  if (kept.size >= MAX_KEPT && !kept.has(type)) return;
  const payload = fields.rest();
  if (payload.length > MAX_KEPT_BYTES) return;
  kept.set(type, payload);
  handlers.get(type)?.(payload);
}

/** From here on nobody can tell whether it was taken, unless the far end says so. */
function begin(
  opened: Opened,
  kind: "exec" | "subsystem",
  what: string,
  input: Uint8Array,
): ClientChannel {
  const { channel } = opened;
  let refused: Error | undefined;
  void channel.ask(kind, str(what)).then(async (granted) => {
    if (granted) return;
    refused = await refusal(channel, kind);
    channel.sendClose();
  });
  void channel.write("stdout", input);
  return clientChannel(opened, () => refused);
}

function clientChannel(
  { channel, received }: Opened,
  refused: () => Error | undefined,
): ClientChannel {
  const { kept, handlers } = received;
  const ended = channel.closed.then(async (lost) => {
    const error = lost ?? refused();
    if (error) throw error;
    await Promise.all([channel.stdout.drained, channel.stderr.drained]);
    return received.exit;
  });
  ended.catch(() => {}); // whoever asks for `exit` is told
  return {
    stdout: channel.stdout,
    stderr: channel.stderr,
    exit: ended,
    write: (bytes) => channel.write("stdout", bytes),
    endInput: () => void channel.sendEof(),
    resize: (size) => channel.sendRequest("window-change", ...sizeFields(size)),
    signal: (name) => channel.sendRequest("signal", str(name)),
    closeOutput() {
      channel.stdout.discard();
      channel.sendRequest("eow@openssh.com");
    },
    received: (type) => kept.get(type),
    onRequest(type, handler) {
      handlers.set(type, handler);
      const last = kept.get(type);
      if (last) handler(last);
    },
    async [Symbol.asyncDispose]() {
      channel.stdout.discard();
      channel.stderr.discard();
      channel.sendClose();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const tired = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_MS));
      await Promise.race([channel.closed, tired]);
      clearTimeout(timer);
    },
  };
}

/** Why a request came to nothing: the connection is gone, or the far end said no. */
async function refusal(channel: Channel, kind: string): Promise<Error> {
  const lost = await Promise.race([channel.closed, Promise.resolve(undefined)]);
  return lost ?? new ChannelRefusedError(`the far end refused the ${kind} request`);
}

function readExit(type: "exit-status" | "exit-signal", fields: Reader): RemoteExit {
  if (type === "exit-status") return { kind: "exit", code: fields.u32() };
  return { kind: "signal", signal: fields.text() };
}
