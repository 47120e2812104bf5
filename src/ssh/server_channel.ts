/**
 * A session channel on the serving end, from its opening to its handler (RFC 4254 §6): environment and
 * perhaps a terminal first, then one of exec, shell and subsystem, then signals and sizes of the terminal.
 * X11 and agent forwarding are refused.
 */
import type { ChannelRequest, OutputStream, RemoteExit, ServerChannel } from "./channel.ts";
import type { Channel, ChannelEvents } from "./connection.ts";
import { readPtyRequest, readSize, type ScreenSize, type TerminalRequest } from "./screen.ts";
import { MalformedError, type Reader, str, u32 } from "./wire.ts";

const MAX_ENV = 128, MAX_ENV_BYTES = 256 * 1024;
/** Signals before the handler asked for them; a peer that sends more is told no. */
const MAX_KEPT_SIGNALS = 16;

export interface Accepts<Proof> {
  /** A channel may have been opened long before it is used: whether that is still allowed. */
  isStillAllowed(): boolean;
  acceptEnv(name: string): boolean;
  acceptSubsystem(name: string): boolean;
  permitPty(proof: Proof): boolean;
}

/**
 * The events of one new session channel; `onStart` gets it once the client said what it is for. What it
 * rejects with closes the channel at once, without an exit.
 */
export function createServerChannel<Proof>(
  proof: Proof,
  accepts: Accepts<Proof>,
  onStart: (channel: ServerChannel<Proof>) => Promise<void>,
): ChannelEvents {
  const env = new Map<string, string>();
  let envBytes = 0, started = false;
  const closedOutput = new AbortController();
  let signalled: ((name: string) => void) | undefined;
  const kept: string[] = [];
  let terminal: TerminalRequest | undefined, resized: ((size: ScreenSize) => void) | undefined;
  let lastSize: ScreenSize | undefined;

  const start = (channel: Channel, request: ChannelRequest): boolean => {
    if (started || !accepts.isStillAllowed()) return false;
    started = true;
    let ended: Promise<void> | undefined;
    const gone = new AbortController();
    channel.closed.then((error) => {
      const reason = error ?? new Error("the client closed the channel");
      gone.abort(reason);
      closedOutput.abort(reason);
    });
    onStart({
      proof,
      request,
      env,
      terminal,
      input: channel.stdout,
      closed: gone.signal,
      outputClosed: closedOutput.signal,
      write(stream: OutputStream, bytes: Uint8Array) {
        if (stream === "stdout" && closedOutput.signal.aborted) return Promise.resolve(false);
        return channel.write(stream, bytes);
      },
      onSignal(handler) {
        signalled = handler;
        for (const name of kept.splice(0)) handler(name);
      },
      onResize(handler) {
        resized = handler;
        if (lastSize) handler(lastSize);
      },
      sendRequest: (type, payload) => channel.sendRequest(type, payload),
      end(exit) {
        return ended ??= end(channel, exit);
      },
    }).catch(() => channel.sendClose());
    return true;
  };

  return {
    onRequest(channel, type, fields) {
      switch (type) {
        case "env": {
          const name = fields.text(), value = readValue(fields);
          envBytes += name.length + (value?.length ?? 0);
          const room = env.size < MAX_ENV && envBytes <= MAX_ENV_BYTES;
          if (started || !room || value === undefined || !accepts.acceptEnv(name)) return false;
          env.set(name, value);
          return true;
        }
        case "pty-req": {
          if (started || terminal || !accepts.permitPty(proof)) return false;
          terminal = readPtyRequest(fields);
          return terminal !== undefined;
        }
        case "window-change":
          // a subsystem may have its terminal from elsewhere
          if (!terminal && !started) return false;
          lastSize = readSize(fields);
          resized?.(lastSize);
          return true;
        case "exec": {
          const command = new Uint8Array(fields.bytes());
          return !command.includes(0) && start(channel, { kind: "exec", command });
        }
        case "shell":
          return start(channel, { kind: "shell" });
        case "subsystem": {
          const name = fields.text();
          return accepts.acceptSubsystem(name) && start(channel, { kind: "subsystem", name });
        }
        case "signal": {
          const name = fields.text();
          if (signalled) signalled(name);
          else if (kept.length < MAX_KEPT_SIGNALS) kept.push(name);
          return true;
        }
        case "eow@openssh.com":
          closedOutput.abort(new Error("the client closed its standard output"));
          return true;
        default: // x11-req, auth-agent-req, break, …
          return false;
      }
    },
  };
}

/** The value of a variable; undefined where it is not UTF-8 or holds NUL. */
function readValue(fields: Reader): string | undefined {
  try {
    const value = fields.text();
    return value.includes("\0") ? undefined : value;
  } catch (error) {
    if (error instanceof MalformedError) return undefined;
    throw error;
  }
}

const end = (channel: Channel, exit: RemoteExit): Promise<void> =>
  channel.finish(() => {
    if (exit.kind === "exit") channel.sendRequest("exit-status", u32(exit.code));
    else channel.sendRequest("exit-signal", str(exit.signal), NO_CORE, str(""), str(""));
  });

const NO_CORE = new Uint8Array([0]);
