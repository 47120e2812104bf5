/**
 * One command on one node: dispatch, connect, prove, send the request, and stream. `openRun` throws
 * only while nothing has started, so that whoever catches it may try again; from then on the run says
 * itself how it ended, and a connection that breaks is `lost`, never tried again.
 */
import type { AbortOptions } from "../abort.ts";
import type { DispatchAnswer } from "../api/dispatch.ts";
import { type Outcome, PROGRESS_REQUEST, RUN_SUBSYSTEM } from "../api/run.ts";
import { text } from "../bytes.ts";
import { escape } from "../escape.ts";
import { newRunId } from "../ids.ts";
import type { ByteSource, ClientChannel } from "../ssh/channel.ts";
import type { PreparedChannel } from "../ssh/client_channel.ts";
import type { SshConnection } from "../ssh/client.ts";
import type { ScreenSize } from "../ssh/screen.ts";
import { type ConnectDeps, reachNode } from "./node_connection.ts";
import { place, type PlacementDeps } from "./placement.ts";
import { encodeRequest, type RunCommand } from "./run_command.ts";
import { readEnd } from "./run_end.ts";
import type { Target } from "./target.ts";

export type ExecDeps = PlacementDeps & ConnectDeps;

/** A command that the node was asked to run. Disposing it gives it up; the node then ends what still runs. */
export interface RemoteRun extends AsyncDisposable {
  readonly runId: string;
  readonly nodeId: string;
  readonly nodeName: string;
  /** The session was bound by this call: that it starts is no news. */
  readonly sessionBound: boolean;
  readonly stdout: ByteSource;
  readonly stderr: ByteSource;
  /** Input. Resolves once it is on its way; false when the command takes no more. */
  write(bytes: Uint8Array): Promise<boolean>;
  endInput(): void;
  /** To the command's whole group; the name without SIG. */
  signal(name: string): void;
  /** The terminal's size from now on. */
  resize(size: ScreenSize): void;
  /** Nobody reads stdout any more: the command finds its pipe closed. What still comes is thrown away. */
  closeOutput(): void;
  /** Calls with what the node does before the command can start, a line of text at a time; empty once that is over. */
  onProgress(handler: (text: string) => void): void;
  /** How it ended, once both outputs are read. Never rejects: what nobody can tell is `lost`. */
  readonly end: Promise<Outcome>;
}

export async function openRun(
  target: Target,
  command: RunCommand,
  deps: ExecDeps,
  { signal }: Required<AbortOptions>,
): Promise<RemoteRun> {
  const runId = command.runId ?? newRunId();
  const request = encodeRequest(runId, command);
  const placement = await place(target, deps, { signal });
  return await reachNode(placement, deps, { signal }, async (connection, options) => {
    const channel = await openRunChannel(connection, request, options);
    return remoteRun(channel, runId, placement.answer, connection);
  });
}

/** A channel on which the node was asked for a run: `request` left with the ask, so that it costs no round trip. */
export const openRunChannel = (
  connection: SshConnection,
  request: Uint8Array,
  { signal }: Required<AbortOptions>,
): Promise<ClientChannel> => connection.openSubsystem(RUN_SUBSYSTEM, { signal, input: request });

/** The same on a channel that was opened ahead: without a round trip of its own. */
export const beginRunChannel = (prepared: PreparedChannel, request: Uint8Array): ClientChannel =>
  prepared.begin(RUN_SUBSYSTEM, request);

/** `owned` is what ends with the run: its connection, or its channel alone. */
export function remoteRun(
  channel: ClientChannel,
  runId: string,
  answer: Pick<DispatchAnswer, "node_id" | "node_name" | "session_created">,
  owned: AsyncDisposable,
): RemoteRun {
  return {
    runId,
    nodeId: answer.node_id,
    nodeName: answer.node_name,
    sessionBound: answer.session_created,
    stdout: channel.stdout,
    stderr: channel.stderr,
    write: (bytes) => channel.write(bytes),
    endInput: () => channel.endInput(),
    signal: (name) => channel.signal(name),
    resize: (size) => channel.resize(size),
    closeOutput: () => channel.closeOutput(),
    onProgress: (handler) =>
      channel.onRequest(PROGRESS_REQUEST, (payload) => handler(escape(text(payload)))),
    end: readEnd(channel, answer.node_name),
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}
