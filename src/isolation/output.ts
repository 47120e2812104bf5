/**
 * One output of a command as its reader sees it. A background job may hold the pipe open for hours, so
 * after the command's exit the output ends once it was quiet for a moment; what is written later is
 * read and dropped, so that the job does not die of a broken pipe.
 */

/**
 * How long an output must be quiet after the command's exit: in turns of this process that came in time,
 * since one that had no time to read must not take its own silence for the command's. At the worst so many.
 */
const QUIET_TURNS = 5, TURN_MS = 50, MOST_TURNS = 100;
/** What a waiting read holds: little while nothing comes, more once it fills what it gets. */
const MIN_READ = 4 * 1024, MAX_READ = 64 * 1024;

export interface Output {
  readonly stream: ReadableStream<Uint8Array>;
  /** At its end, quiet after the exit, or given up by its reader. */
  readonly ended: boolean;
  /** Closes the pipe, and with it the stream. */
  cancel(): void;
}

/** One that nothing is ever written to. */
export const silentOutput = (): Output => ({
  stream: new ReadableStream({ start: (controller) => controller.close() }),
  ended: true,
  cancel() {},
});

/** `onQuiet` is told where the pipe is still open behind a stream that has ended. */
export function readOutput(
  pipe: ReadableStream<Uint8Array>,
  exited: Promise<unknown>,
  onQuiet: (output: Output) => void,
): Output {
  const reader = pipe.getReader({ mode: "byob" });
  let size = MIN_READ, isOver = false, waiting = false, ended = false, quiet = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let end = () => {};

  // a slow consumer is not silence of the command: only the time that a read itself waits counts
  const watch = () => {
    if (!isOver || !waiting || ended) return;
    let inTime = 0, turns = 0, due = 0;
    const wait = () => {
      due = performance.now() + TURN_MS;
      timer = setTimeout(turn, TURN_MS);
    };
    const turn = () => {
      if (performance.now() - due < TURN_MS) inTime++;
      if (inTime === QUIET_TURNS || ++turns === MOST_TURNS) end();
      else wait();
    };
    wait();
  };
  exited.then(() => {
    isOver = true;
    watch();
  });

  async function read(): Promise<Uint8Array | undefined> {
    waiting = true;
    watch();
    try {
      const { value, done } = await reader.read(new Uint8Array(size));
      if (done) return undefined;
      if (value.length === size) size = Math.min(size * 4, MAX_READ);
      else if (value.length < size / 4) size = Math.max(size / 4, MIN_READ);
      return value;
    } catch {
      return undefined; // cancelled
    } finally {
      waiting = false;
      clearTimeout(timer);
    }
  }

  const output: Output = {
    stream: new ReadableStream<Uint8Array>({
      async pull(controller) {
        end = () => {
          ended = quiet = true;
          controller.close();
          onQuiet(output);
        };
        let chunk = await read();
        while (quiet && chunk) chunk = await read();
        if (ended) return;
        if (chunk) return controller.enqueue(chunk);
        ended = true;
        controller.close();
      },
      cancel() {
        ended = true;
        output.cancel();
      },
    }, { highWaterMark: 0 }),
    get ended() {
      return ended;
    },
    cancel() {
      reader.cancel().catch(() => {});
    },
  };
  return output;
}
