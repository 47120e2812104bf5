/**
 * What scripts/dev runs: both services through scripts/openbox, so with their own permissions, and
 * started anew as whole processes when a source changed. The home stays, so that nothing enrolls twice.
 */
// deno-lint-ignore-file no-console -- a script's output

const HOME = `${Deno.cwd()}/.dev`;
const SERVER = "http://127.0.0.1:8080";
const BOOTSTRAP_TOKEN = `${HOME}/control/bootstrap_token`;
const SOURCES = ["main.ts", "src", "deno.json", "deno.lock"];
const PATIENCE_MS = 20_000;
/** An editor, or git, writes several files at once. */
const SETTLE_MS = 200;

/** The caller's settings for openbox are for another one. */
const env: Record<string, string> = {
  ...Object.fromEntries(
    Object.entries(Deno.env.toObject()).filter(([name]) => !/^(OPENBOX_|PORT$)/.test(name)),
  ),
  OPENBOX_HOME: HOME,
};

const command = (args: readonly string[], extra: Readonly<Record<string, string>> = {}) =>
  new Deno.Command("scripts/openbox", {
    args: [...args],
    clearEnv: true,
    env: { ...env, ...extra },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });

/** A service that runs until it is disposed; what it prints appears with its name before each line. */
function startService(
  args: readonly string[],
  extra?: Readonly<Record<string, string>>,
): AsyncDisposable {
  const child = command(args, extra).spawn();
  let stopping = false;
  const printed = Promise.all(
    [child.stdout, child.stderr].map((stream) => print(args[0]!, stream)),
  );
  const ended = child.status.then(({ code }) => {
    if (!stopping && !ending.signal.aborted) {
      console.error(`${args[0]} ended with ${code}; a changed source starts it again`);
    }
  });
  return {
    async [Symbol.asyncDispose]() {
      stopping = true;
      try {
        child.kill("SIGTERM");
      } catch {
        // it has ended
      }
      await ended;
      await printed;
    },
  };
}

async function print(name: string, stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) console.log(`${name.padEnd(7)} | ${line}`);
  }
}

/** stdout of a command of the CLI that has to succeed. */
async function openbox(...args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await command(args).output();
  if (!success) throw new Error(`openbox ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** Starts all of it and says how to use it. Rejects where something does not come up. */
async function bringUp(stack: AsyncDisposableStack, signal: AbortSignal): Promise<void> {
  stack.use(startService(["control"]));
  await eventually(async () => (await (await fetch(`${SERVER}/health`)).text()) !== "", signal);
  if (!await exists(`${HOME}/config.json`)) {
    await openbox("login", "--server", SERVER, "--token-file", BOOTSTRAP_TOKEN);
  }
  stack.use(startService(["agent", "--server", SERVER], await enrollment()));
  await eventually(
    async () => (await openbox("nodes", "--tag", "dev")).includes(" online "),
    signal,
  );
  console.log(`
try it, in another terminal:
  export OPENBOX_HOME='${HOME}'
  scripts/openbox nodes
  scripts/openbox -t dev uname -a
Ctrl-C ends the control plane and the agent
`);
}

async function enrollment(): Promise<Record<string, string>> {
  if (await exists(`${HOME}/agent/agent.json`)) return {};
  const { token } = JSON.parse(await openbox("node", "token", "--tag", "dev", "--json"));
  return { OPENBOX_ENROLL_TOKEN: token };
}

async function eventually(attempt: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      if (await attempt()) return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    signal.throwIfAborted();
    await pause(50);
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const exists = (path: string): Promise<boolean> => Deno.stat(path).then(() => true, () => false);

const ending = new AbortController();
let changed = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.addSignalListener(name, () => ending.abort());
}
const watcher = Deno.watchFs(SOURCES);
const watching = (async () => {
  for await (const { kind } of watcher) if (kind !== "access") changed.abort();
})();

while (!ending.signal.aborted) {
  await using stack = new AsyncDisposableStack();
  changed = new AbortController();
  const over = AbortSignal.any([ending.signal, changed.signal]);
  try {
    await bringUp(stack, over);
  } catch (error) {
    if (!over.aborted) console.error(error instanceof Error ? error.message : error);
  }
  if (!over.aborted) {
    await new Promise((resolve) => over.addEventListener("abort", resolve, { once: true }));
  }
  await pause(SETTLE_MS);
}
watcher.close();
await watching;
Deno.exit(0);
