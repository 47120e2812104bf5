/** Asks the daemon of this home something about itself. */
import { abortable, deadline } from "../abort.ts";
import { OpenboxError } from "../errors.ts";
import { homePaths } from "../home/paths.ts";
import type { Host } from "../host.ts";
import { FrameReader, FrameWriter, KIND, readJson } from "../ipc/frames.ts";
import type { Ask } from "../ipc/messages.ts";
import { isOurSocket } from "../ipc/socket.ts";

const ASK_MS = 5000;

/** Its answer; undefined where no daemon runs. Throws `untrusted_socket`, or `unavailable` where it does not answer. */
export async function askDaemon(
  ask: Ask,
  host: Pick<Host, "env" | "cwd" | "signal">,
): Promise<Record<string, unknown> | undefined> {
  const path = homePaths(host).daemonSocket;
  if (!isOurSocket(path)) return undefined;
  let socket: Deno.UnixConn;
  try {
    socket = await Deno.connect({ transport: "unix", path });
  } catch {
    return undefined; // left behind by one that was killed
  }
  using stack = new DisposableStack();
  stack.adopt(socket, (socket) => socket.close());
  const late = () =>
    new OpenboxError("unavailable", "The daemon does not answer", {
      hint: "openbox daemon logs; OPENBOX_NO_DAEMON=1 goes without it",
    });
  using limit = deadline(ASK_MS, late, host);
  const reader = new FrameReader(socket), writer = new FrameWriter(socket);
  const hello = await abortable(reader.next(), limit.signal);
  if (hello?.kind !== KIND.HELLO) throw late();
  writer.sendJson(KIND.ASK, ask);
  const answer = await abortable(reader.next(), limit.signal);
  if (answer?.kind !== KIND.ANSWER) throw late();
  return readJson(answer.payload);
}
