/** What every isolation backend promises (src/isolation/backend.ts), tried on each by the files beside this one. */
import assert from "node:assert/strict";
import { concat, text, utf8 } from "../../src/bytes.ts";
import type { OpenboxError } from "../../src/errors.ts";
import type { Command, IsolationBackend, Process } from "../../src/isolation/backend.ts";
import type { IsolationSpec } from "../../src/isolation/spec.ts";

export interface Subject extends AsyncDisposable {
  readonly backend: IsolationBackend;
  readonly spec: IsolationSpec;
  /** One that it is not for. */
  readonly otherSpec: IsolationSpec;
  /** Variables that a command has there whatever it was given. */
  readonly ownEnv?: readonly string[];
}

export const command = (line: string, more: Partial<Command> = {}): Command => ({
  line: utf8(line),
  env: { PATH: "/usr/local/bin:/usr/bin:/bin" },
  cwd: "/",
  ...more,
});

const OF_SHELLS = ["PWD", "SHLVL", "_", "OLDPWD"];
const SIZE = { cols: 100, rows: 30 };

export async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return concat(parts);
}

/** Feeds `input`, reads both outputs, waits for the exit, as whoever serves a run does. */
export async function finish(process: Process, input: string | Uint8Array = "") {
  const writer = process.stdin.getWriter();
  const feeding = (async () => {
    const bytes = typeof input === "string" ? utf8(input) : input;
    if (bytes.length > 0) await writer.write(bytes);
    await writer.close();
  })().catch(() => {}); // a command need not read
  const [stdout, stderr, exit] = await Promise.all([
    readAll(process.stdout),
    readAll(process.stderr),
    process.exit,
  ]);
  await feeding;
  return { stdout, stderr, out: text(stdout), err: text(stderr), exit };
}

export function isolationContract(
  name: string,
  open: () => Promise<Subject>,
  options: { ignore: boolean } = { ignore: false },
): void {
  const test = (title: string, body: (subject: Subject) => Promise<void>) =>
    Deno.test(`${name}: ${title}`, options, async () => {
      await using subject = await open();
      await body(subject);
    });

  test("RUN-1: what a command writes comes on the right stream, nothing added", async (subject) => {
    const { backend, spec } = subject;
    await using process = await backend.run(spec, command("printf out; printf err >&2"));
    const { out, err, exit } = await finish(process);
    assert.deepEqual({ out, err, exit }, {
      out: "out",
      err: "err",
      exit: { kind: "exit", code: 0 },
    });
  });

  test("RUN-3: stdin reaches the command, and its end", async ({ backend, spec }) => {
    await using process = await backend.run(spec, command("cat"));
    assert.equal((await finish(process, "a\nb\0")).out, "a\nb\0");
    await using empty = await backend.run(spec, command("cat"));
    assert.equal((await finish(empty)).out, "");
  });

  test("RUN-3: a stdin that stays open does not hold a command that ends", async (subject) => {
    await using process = await subject.backend.run(subject.spec, command("exit 7"));
    const [out, exit] = await Promise.all([readAll(process.stdout), process.exit]);
    assert.equal(out.length, 0);
    assert.deepEqual(exit, { kind: "exit", code: 7 });
  });

  test("RUN-5: an exit code is told, and a signal by its name and number", async (subject) => {
    const { backend, spec } = subject;
    await using left = await backend.run(spec, command("exit 7"));
    assert.deepEqual((await finish(left)).exit, { kind: "exit", code: 7 });
    await using asleep = await backend.run(spec, command("sleep 300"));
    asleep.kill("SIGTERM");
    assert.deepEqual((await finish(asleep)).exit, { kind: "signal", signal: "TERM", number: 15 });
  });

  test("RUN-9: a command whose reader is gone ends", async ({ backend, spec }) => {
    await using process = await backend.run(spec, command("yes"));
    const reader = process.stdout.getReader();
    assert.match(text((await reader.read()).value!), /^(y\n)+/);
    await reader.cancel();
    const exit = await process.exit; // a shell may tell the signal of its child as a code
    assert.equal(exit.kind === "exit" ? exit.code : 128 + exit.number, 141);
  });

  test("RUN-18, EXE-6: the environment is exactly what was given", async (subject) => {
    const { backend, spec, ownEnv = [] } = subject;
    const env = { PATH: "/usr/bin:/bin", A: " b=c\n'\"", EMPTY: "" };
    await using process = await backend.run(spec, command("env -0", { env }));
    const got = (await finish(process)).out.split("\0").filter((entry) =>
      // bash as sh adds these to its own
      entry !== "" && ![...OF_SHELLS, ...ownEnv].includes(entry.split("=")[0]!)
    );
    assert.deepEqual(got.sort(), Object.entries(env).map(([k, v]) => `${k}=${v}`).sort());
  });

  test("RUN-19: a directory that is missing is refused before anything starts", async (subject) => {
    await assert.rejects(
      subject.backend.run(subject.spec, command("exit 7", { cwd: "/no such place" })),
      (error: OpenboxError) =>
        error.code === "bad_directory" && error.message.includes("/no such place"),
    );
  });

  test("what no process can get is refused", async ({ backend, spec, otherSpec }) => {
    const refused = (more: Partial<Command>, code: string, as = spec) =>
      assert.rejects(backend.run(as, command("exit 7", more)), { code });
    await refused({ line: utf8("exit\0 7") }, "bad_request");
    await refused({ env: { "A=B": "c" } }, "bad_environment");
    await refused({}, "isolation_unavailable", otherSpec);
  });

  test("RUN-13: terminating ends a command, and what it wrote can still be read", async (subject) => {
    const { backend, spec } = subject;
    await using process = await backend.run(spec, command("echo before; sleep 300"));
    const reader = process.stdout.getReader();
    assert.equal(text((await reader.read()).value!), "before\n");
    await process.terminate();
    assert.equal((await process.exit).kind, "signal");
    assert.ok((await reader.read()).done);
  });

  test("disposing ends a command that goes on, and twice is once", async ({ backend, spec }) => {
    const process = await backend.run(spec, command("sleep 300"));
    await Promise.all([process[Symbol.asyncDispose](), process[Symbol.asyncDispose]()]);
    assert.equal((await process.exit).kind, "signal");
    await process[Symbol.asyncDispose]();
    process.kill("SIGTERM");
  });

  test("RUN-20: on a terminal all that a command prints is one stream", async (subject) => {
    const { backend, spec } = subject;
    await using process = await backend.run(
      spec,
      command("printf out; printf err >&2", { terminal: SIZE }),
    );
    const { out, err, exit } = await finish(process);
    assert.deepEqual([out, err, exit], ["outerr", "", { kind: "exit", code: 0 }]);
  });

  test("RUN-20: a terminal has its size, and the command sees a new one", async (subject) => {
    const { backend, spec } = subject;
    const line = "stty size; read -r _; stty size";
    await using process = await backend.run(spec, command(line, { terminal: SIZE }));
    const writer = process.stdin.getWriter(), reader = process.stdout.getReader();
    let seen = "";
    while (!seen.includes("\n")) seen += text((await reader.read()).value!);
    process.resize({ cols: 132, rows: 50 });
    await writer.write(utf8("\n"));
    for (let part; !(part = await reader.read()).done;) seen += text(part.value);
    assert.match(seen, /^30 100\r?\n\s*50 132\r?\n$/);
  });

  test("RUN-16: commands at once do not cross", async ({ backend, spec }) => {
    const inputs = Array.from({ length: 10 }, (_, i) => `${i}`.repeat(100_000));
    const outputs = await Promise.all(inputs.map(async (input) => {
      await using process = await backend.run(spec, command("cat"));
      return (await finish(process, input)).out;
    }));
    assert.deepEqual(outputs, inputs);
  });
}
