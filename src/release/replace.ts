/**
 * The executable that is run is exchanged for another, so that at each moment, whatever ends us there, one
 * of them is in its place, whole. The old one is kept beside it as `.openbox.old`. Names of what is not
 * finished end in the number of our process, as install.sh has it; what a killed one left is removed.
 */
import { type AbortOptions, abortReason, deadline } from "../abort.ts";
import { text } from "../bytes.ts";
import { systemClock } from "../clock.ts";
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";

export interface ReplaceOptions extends AbortOptions {
  /** What the new one must say that it is. */
  readonly version: string;
  /** How long it may take to say so. */
  readonly answerMs: number;
}

/** The path of the old one. Rejects with the old one in its place, and nothing left beside it. */
export async function replaceExecutable(
  path: string,
  content: AsyncIterable<Uint8Array>,
  options: ReplaceOptions,
): Promise<string> {
  const slash = path.lastIndexOf("/");
  const folder = path.slice(0, slash) || "/", name = path.slice(slash + 1);
  const beside = (kind: string) => `${folder}/.${name}.${kind}`;
  const incoming = `${beside("new")}.${Deno.pid}`, outgoing = `${beside("old")}.${Deno.pid}`;
  const kept = beside("old");
  using lock = await lockFolder(folder, path);
  try {
    await sweep(folder, name);
    await writeExecutable(incoming, content, path);
    await requireAnswer(incoming, options);
    await keep(path, outgoing, kept);
    await Deno.rename(incoming, path);
    await lock.folder.sync();
    try {
      await requireAnswer(path, options);
    } catch (error) {
      // it answered a moment ago under the name that it was made with: the place must be what it does not like
      await Deno.rename(kept, path);
      await lock.folder.sync();
      throw error;
    }
    return kept;
  } catch (error) {
    if (options.signal?.aborted) throw abortReason(options.signal);
    if (error instanceof OpenboxError) throw error;
    throw cannotWrite(folder, path, error);
  } finally {
    for (const left of [incoming, outgoing]) await Deno.remove(left).catch(() => {});
  }
}

/** Held by the system as long as we live: two upgrades at once would sweep each other's files. */
async function lockFolder(
  path: string,
  executable: string,
): Promise<{ readonly folder: Deno.FsFile } & Disposable> {
  let folder: Deno.FsFile;
  try {
    folder = await Deno.open(path);
  } catch (error) {
    throw cannotWrite(path, executable, error);
  }
  try {
    if (await folder.tryLock(true)) return { folder, [Symbol.dispose]: () => folder.close() };
  } catch (error) {
    folder.close();
    throw cannotWrite(path, executable, error);
  }
  folder.close();
  throw new OpenboxError("conflict", `Another openbox upgrade is at work in ${path}`);
}

async function sweep(folder: string, name: string): Promise<void> {
  for await (const entry of Deno.readDir(folder)) {
    const [, kind, pid] = /^(.*)\.(\d+)$/.exec(entry.name) ?? [];
    if (kind !== `.${name}.new` && kind !== `.${name}.old`) continue;
    if (!isAlive(Number(pid))) await Deno.remove(`${folder}/${entry.name}`).catch(() => {});
  }
}

function isAlive(pid: number): boolean {
  if (pid === Deno.pid) return false; // of an earlier process with our number
  try {
    Deno.kill(pid, 0 as never); // no signal: only whether one could be sent
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound);
  }
}

/** With the mode of the one that it takes the place of. */
async function writeExecutable(
  path: string,
  content: AsyncIterable<Uint8Array>,
  like: string,
): Promise<void> {
  const { mode } = await Deno.stat(like);
  using file = await Deno.open(path, { write: true, createNew: true, mode: 0o700 });
  for await (const part of content) {
    for (let at = 0; at < part.length;) at += await file.write(part.subarray(at));
  }
  await Deno.chmod(path, (mode ?? 0o755) & 0o777 | 0o500);
  await file.sync();
}

/** A link where the file system has them, so that nothing is copied; either way whole before it has its name. */
async function keep(path: string, outgoing: string, kept: string): Promise<void> {
  await Deno.link(path, outgoing).catch(() => Deno.copyFile(path, outgoing));
  // a rename does nothing where both are links to one file, as after a run that was killed here
  await Deno.remove(kept).catch(() => {});
  await Deno.rename(outgoing, kept);
}

/** An answer is one line of JSON. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** Throws `unavailable` unless the executable says in time that it is this version. */
async function requireAnswer(path: string, options: ReplaceOptions): Promise<void> {
  const { version, answerMs } = options;
  const failed = (why: string, cause?: unknown) =>
    new OpenboxError("unavailable", `The new openbox ${version} does not work here: ${why}`, {
      hint: "the old one stays; nothing is changed",
      cause,
    });
  using limit = deadline(
    answerMs,
    () => failed(`no answer within ${answerMs / 1000} s`),
    options,
  );
  let said: { readonly code: number; readonly stdout: string; readonly stderr: string };
  try {
    said = await whenFree(() => run(path, limit.signal), limit.signal);
  } catch (error) {
    if (limit.signal.aborted) throw abortReason(limit.signal);
    throw failed((error as Error).message, error);
  }
  if (limit.signal.aborted) throw abortReason(limit.signal);
  if (said.code !== 0) {
    const [line] = said.stderr.trim().split("\n");
    throw failed(`it ended with ${said.code}${line ? `, and said: ${line}` : ""}`);
  }
  const answered = versionIn(said.stdout);
  if (answered !== version) throw failed(`it says that it is ${answered ?? "something else"}`);
}

/**
 * A file that was open to write a moment ago cannot be run while a process that was started elsewhere in
 * ours meanwhile still has it open too: until that one has become its own program.
 */
async function whenFree<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error as Error).message.includes("Text file busy")) throw error;
      await systemClock.sleep(10, { signal });
    }
  }
}

async function run(path: string, signal: AbortSignal) {
  const child = new Deno.Command(path, {
    args: ["version", "--json"],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    detached: true, // a group of its own, which can be ended whole
  }).spawn();
  const kill = () => {
    try {
      Deno.kill(-child.pid, "SIGKILL");
    } catch {
      // it ended by itself
    }
  };
  signal.addEventListener("abort", kill, { once: true });
  if (signal.aborted) kill();
  try {
    const [stdout, stderr, { code }] = await Promise.all([
      readSome(child.stdout),
      readSome(child.stderr),
      child.status,
    ]);
    return { code, stdout, stderr };
  } finally {
    signal.removeEventListener("abort", kill);
    kill(); // what it may have left in the background
  }
}

/** Its beginning; the rest is dropped, so that nobody waits to write it. */
async function readSome(stream: ReadableStream<Uint8Array>): Promise<string> {
  let kept = "", length = 0;
  for await (const part of stream) {
    if (length < MAX_ANSWER_BYTES) kept += text(part);
    length += part.length;
  }
  return kept;
}

function versionIn(stdout: string): string | undefined {
  try {
    const { version } = JSON.parse(stdout);
    return typeof version === "string" ? version.slice(0, 64) : undefined;
  } catch {
    return undefined;
  }
}

function cannotWrite(folder: string, path: string, cause: unknown): OpenboxError {
  const why = (cause as Error).message.replace(/ \(os error \d+\).*$/s, "");
  if (cause instanceof Deno.errors.PermissionDenied || cause instanceof Deno.errors.NotCapable) {
    return new OpenboxError("not_allowed", `Cannot replace ${path}: ${why}`, {
      hint: `sudo ${quoteWord(path)} upgrade`,
      cause,
    });
  }
  return new OpenboxError("bad_file", `Cannot write to ${folder}: ${why}`, {
    hint: "the old openbox is as it was",
    cause,
  });
}
