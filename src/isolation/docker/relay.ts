/**
 * Named pipes in a container, and an exec that reads and writes them for us: its three streams are those of
 * one command of a session.
 */
import { text } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import { quoteWord } from "../../shell_word.ts";
import type { Relay, RelayOutput } from "../backend.ts";
import { type Container, SHARED } from "./container.ts";
import { readFrames } from "./frames.ts";
import { createMarkedOutput, type MarkedOutput } from "./output.ts";
import { putFile, send } from "./process.ts";

/**
 * Both ends of each output are open before anything can wait for one. `.3` and `.4` bring what is to be
 * put behind an output; each cat ends with the last writer. The session's Ctrl-C is not for us.
 */
const SCRIPT = `trap '' HUP INT QUIT; umask 077; ` +
  `mkfifo "$0.0" "$0.1" "$0.2" "$0.3" "$0.4" || exit; ` +
  `exec 3<>"$0.1" 4<>"$0.2" 5<"$0.1" 6<"$0.2"; echo "ready $$"; ` +
  `cat <&5 2>/dev/null 3>&- 4>&- 5>&- 6>&- & cat <&6 >&2 2>/dev/null 3>&- 4>&- 5>&- 6>&- & ` +
  `{ IFS= read -r t <"$0.3"; printf %s "$t" >&3; } 4>&- 5>&- 6>&- & ` +
  `{ IFS= read -r t <"$0.4"; printf %s "$t" >&4; } 3>&- 5>&- 6>&- & ` +
  `exec 3>&- 4>&- 5>&- 6>&-; exec cat >"$0.0" 2>/dev/null`;

/** Longer ones take an exec of their own; the control shell reads a byte at a time. */
const SHORT_LINE = 2_000;

/** `sessions` has the number of its processes' session as long as there may be some. */
export async function openContainerRelay(
  container: Container,
  number: number,
  sessions: Set<number>,
): Promise<Relay> {
  const base = `${SHARED}/${number}`;
  await using stack = new AsyncDisposableStack();
  const execution = stack.use(
    await container.exec({
      argv: ["/bin/sh", "-c", SCRIPT, base],
      env: {},
      cwd: "/",
      tty: false,
    }),
  );
  const { wire } = execution;
  let gone = false;
  const said = Promise.withResolvers<string>();
  let head = "", isReady = false;
  const stdout = createMarkedOutput(undefined, () => {});
  const stderr = createMarkedOutput(undefined, () => {});
  const takeOutput = (bytes: Uint8Array) => {
    if (isReady) return stdout.push(bytes);
    const end = bytes.indexOf(NEWLINE);
    head += text(end < 0 ? bytes : bytes.subarray(0, end));
    if (end < 0 && head.length < MAX_HEAD) return;
    isReady = true;
    said.resolve(head);
    if (end + 1 < bytes.length) return stdout.push(bytes.slice(end + 1));
  };
  const reading = readFrames(wire, takeOutput, (bytes) => stderr.push(bytes)).finally(() => {
    gone = true;
    said.resolve(head);
    stdout.end();
    stderr.end();
  });
  const pid = Number(/^ready (\d+)$/.exec(await said.promise)?.[1]);
  if (Number.isNaN(pid)) {
    throw new OpenboxError(
      "isolation_unavailable",
      "A session cannot be kept in this image: it lacks mkfifo or cat",
      { hint: "images with coreutils or busybox have both" },
    );
  }
  sessions.add(pid);
  const owned = stack.move();

  async function dispose(): Promise<void> {
    if (!gone) void container.ask(send("KILL", `-${pid}`));
    void container.ask(`rm -f ${base}.?`);
    for (const output of [stdout, stderr]) output.drop(); // what is kept for a reader holds the stream
    await owned.disposeAsync();
    await reading;
    sessions.delete(pid);
  }
  let disposed: Promise<void> | undefined;
  return {
    base,
    get gone() {
      return gone;
    },
    stdin: new WritableStream<Uint8Array>({
      write: (bytes) => wire.write(bytes),
      close: () => wire.closeWrite().catch(() => {}),
      abort: () => wire.closeWrite().catch(() => {}),
    }),
    stdout: toRelayOutput(stdout, (token) => tell(container, `${base}.3`, token)),
    stderr: toRelayOutput(stderr, (token) => tell(container, `${base}.4`, token)),
    async writeCommand(line) {
      if (line.length > SHORT_LINE) return await putFile(container, `${number}.c`, line);
      await container.ask(`printf %b '${escapeBytes(line)}' >${base}.c`);
    },
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  };
}

const NEWLINE = 10, MAX_HEAD = 100;

/** In the background, since what it is told may be gone. */
const tell = (container: Container, path: string, token: Uint8Array) =>
  container.ask(`{ echo ${quoteWord(text(token))} >${path}; } 2>/dev/null & :`);

function toRelayOutput(
  { stream }: MarkedOutput,
  append: (token: Uint8Array) => Promise<unknown>,
): RelayOutput {
  const reader = stream.getReader();
  return {
    append: async (token) => void await append(token),
    release() {}, // it let go with the token
    read: async () => (await reader.read()).value,
  };
}

/** For `printf %b`, within single quotes and on one line. */
function escapeBytes(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x27 && byte !== 0x5c;
    out += isPlain ? String.fromCharCode(byte) : `\\0${byte.toString(8).padStart(3, "0")}`;
  }
  return out;
}
