/** Sessions of real shells, and what their commands say. */
import { concat, text, utf8 } from "../../../src/bytes.ts";
import type { Exit, IsolationBackend, Process } from "../../../src/isolation/backend.ts";
import { openNativeBackend } from "../../../src/isolation/native/backend.ts";
import { openNspawnBackend } from "../../../src/isolation/nspawn/backend.ts";
import { type IsolationSpec, NATIVE } from "../../../src/isolation/spec.ts";
import { chooseDialect } from "../../../src/session/dialect.ts";
import { openSessionShell, type SessionShell } from "../../../src/session/shell.ts";
import { findProgram } from "../../fixtures/component.ts";
import { makeTree } from "../../fixtures/nspawn_tree.ts";

export const SHELLS = ["bash", "zsh", "dash", "busybox"] as const;
export const PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

export interface Ran {
  readonly out: string;
  readonly bytes: Uint8Array;
  readonly err: string;
  readonly exit: Exit;
  /** As the CLI would exit. */
  readonly code: number;
}

export async function finish(process: Process, stdin?: string | Uint8Array): Promise<Ran> {
  const writer = process.stdin.getWriter();
  const fed = (async () => {
    const bytes = typeof stdin === "string" ? utf8(stdin) : stdin;
    if (bytes && bytes.length > 0) await writer.write(bytes);
    await writer.close();
  })().catch(() => {}); // a command need not read
  const [bytes, err, exit] = await Promise.all([
    readAll(process.stdout),
    readAll(process.stderr),
    process.exit,
  ]);
  await process[Symbol.asyncDispose]();
  await fed;
  return {
    out: text(bytes),
    bytes,
    err: text(err),
    exit,
    code: exit.kind === "exit" ? exit.code : 128 + exit.number,
  };
}

export async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return concat(parts);
}

export interface TestSession extends AsyncDisposable {
  readonly backend: IsolationBackend;
  readonly spec: IsolationSpec;
  readonly shell: SessionShell;
  run(line: string, stdin?: string | Uint8Array): Promise<Ran>;
  start(line: string): Promise<Process>;
}

export async function openSession(
  program: string,
  options: { readonly cgroups?: false } = {},
): Promise<TestSession> {
  await using stack = new AsyncDisposableStack();
  const none = () => Promise.resolve(undefined);
  const backend = stack.use(
    await openNativeBackend(options.cgroups === false ? { findCgroups: none } : {}),
  );
  return await openIn(backend, NATIVE, findProgram(program)!, stack);
}

/** Of a busybox or a bash in a container. */
export async function openNspawnSession(sh: "busybox" | "bash" = "busybox"): Promise<TestSession> {
  await using stack = new AsyncDisposableStack();
  const { root } = stack.use(await makeTree({ sh }));
  const backend = stack.use(openNspawnBackend());
  const program = sh === "bash" ? "/bin/bash" : "/bin/ash";
  return await openIn(backend, { kind: "nspawn", root }, program, stack);
}

async function openIn(
  backend: IsolationBackend,
  spec: IsolationSpec,
  program: string,
  stack: AsyncDisposableStack,
): Promise<TestSession> {
  const dialect = await chooseDialect(program, PATH);
  const env = { PATH, HOME: "/", LANG: "C.UTF-8" };
  const shell = stack.use(await openSessionShell(backend, spec, { dialect, env, cwd: "/" }));
  const owned = stack.move();
  const start = (line: string) => shell.run(utf8(line));
  return {
    backend,
    spec,
    shell,
    start,
    run: async (line, stdin) => await finish(await start(line), stdin),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
