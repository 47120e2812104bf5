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

export async function openClientChannel(
  connection: Connection,
  kind: "exec" | "subsystem",
  what: string,
  { signal, input }: AbortOptions & { readonly input?: Uint8Array },
): Promise<ClientChannel> {
  let exit: RemoteExit | undefined;
  const kept = new Map<string, Uint8Array>();
  const handlers = new Map<string, (payload: Uint8Array) => void>();
  const opening = connection.openSession({
    onRequest(_, type, fields) {
      if (type === "exit-status" || type === "exit-signal") exit ??= readExit(type, fields);
      else if (kept.size < MAX_KEPT || kept.has(type)) {
        const payload = fields.rest();
        if (payload.length > MAX_KEPT_BYTES) return false;
        kept.set(type, payload);
        handlers.get(type)?.(payload);
      }
      return false;
    },
  });
  let channel: Channel;
  try {
    channel = await abortable(opening, signal);
  } catch (error) {
    opening.then((late) => late.sendClose(), () => {}); // opened after nobody waited
    throw error;
  }
  const granted = channel.ask(kind, str(what));
  let refused: Error | undefined;
  if (input) {
    // from here on nobody can tell whether it was taken, unless the far end says so
    void channel.write("stdout", input);
    void granted.then(async (yes) => {
      if (yes) return;
      refused = await refusal(channel, kind);
      channel.sendClose();
    });
  } else {
    try {
      if (!await abortable(granted, signal)) throw await refusal(channel, kind);
    } catch (error) {
      channel.sendClose();
      throw error;
    }
  }

  const ended = channel.closed.then(async (lost) => {
    if (lost) throw lost;
    if (refused) throw refused;
    await Promise.all([channel.stdout.drained, channel.stderr.drained]);
    return exit;
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
