import assert from "node:assert/strict";
import { OpenboxError } from "../../../src/errors.ts";
import { listenAlone } from "../../../src/daemon/listen_alone.ts";

async function withDirectory(act: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  await Deno.chmod(directory, 0o700);
  await act(directory);
  await Deno.remove(directory, { recursive: true });
}

const codeOf = async (promise: Promise<AsyncDisposable>): Promise<string | undefined> => {
  try {
    await (await promise)[Symbol.asyncDispose]();
    return undefined;
  } catch (error) {
    if (!(error instanceof OpenboxError)) throw error;
    return error.code;
  }
};

Deno.test("the socket is its owner's alone, and is gone with its daemon", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/openboxd.sock`;
    {
      await using listener = await listenAlone(path);
      assert.equal((await Deno.lstat(path)).mode! & 0o777, 0o600);
      const accepted = listener.accept();
      using _client = await Deno.connect({ transport: "unix", path });
      (await accepted)!.close();
      listener.close();
      assert.equal(await listener.accept(), null);
    }
    await assert.rejects(Deno.lstat(path), Deno.errors.NotFound);
  });
});

Deno.test("DMN-2: what is no socket is left as it is", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/openboxd.sock`;
    await Deno.writeTextFile(path, "precious");
    assert.equal(await codeOf(listenAlone(path)), "bad_setting");
    assert.equal(await Deno.readTextFile(path), "precious");
    await Deno.rename(path, `${directory}/file`);
    await Deno.symlink(`${directory}/file`, path);
    assert.equal(await codeOf(listenAlone(path)), "bad_setting");
    assert.equal(await Deno.readTextFile(path), "precious");
    await Deno.remove(path);
    await Deno.mkdir(path);
    assert.equal(await codeOf(listenAlone(path)), "bad_setting");
    assert((await Deno.lstat(path)).isDirectory);
  });
});

Deno.test("DMN-1: a directory that others can write to is no place for it", async () => {
  await withDirectory(async (directory) => {
    for (const mode of [0o755, 0o1777]) {
      await Deno.chmod(directory, mode);
      assert.equal(await codeOf(listenAlone(`${directory}/openboxd.sock`)), "untrusted_socket");
    }
    assert.deepEqual(await Array.fromAsync(Deno.readDir(directory)), []);
  });
});

Deno.test("DMN-4: the socket of a daemon that was killed is taken over", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/openboxd.sock`;
    const script = `Deno.listen({ transport: "unix", path: "${path}" });
      Deno.listen({ transport: "unix", path: "${path}.new" }); Deno.kill(Deno.pid, "SIGKILL");`;
    await new Deno.Command(Deno.execPath(), { args: ["eval", script] }).output();
    assert((await Deno.lstat(path)).isSocket);
    await using listener = await listenAlone(path);
    const accepted = listener.accept();
    using _client = await Deno.connect({ transport: "unix", path });
    (await accepted)!.close();
  });
});

/** Takes the socket, says so, and holds it until its input ends. */
const RACER = `
  import { listenAlone } from "${new URL("../../../src/daemon/listen_alone.ts", import.meta.url)}";
  const say = (word) => Deno.stdout.write(new TextEncoder().encode(word + "\\n"));
  for await (const path of lines()) {
    try {
      await using listener = await listenAlone(path);
      await say("serves");
      await lines().next();
    } catch (error) {
      await say(error.code);
      await lines().next();
    }
    await say("done");
  }
  async function* lines() {
    for (let line = ""; ;) {
      const byte = new Uint8Array(1);
      if (await Deno.stdin.read(byte) === null) return;
      if (byte[0] !== 10) line += String.fromCharCode(byte[0]);
      else { yield line; line = ""; }
    }
  }`;

function startRacer(script: string) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", "--config", CONFIG, script],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let seen = "";
  return {
    tell: (line: string) => writer.write(new TextEncoder().encode(line + "\n")),
    async says(): Promise<string> {
      while (!seen.includes("\n")) seen += (await reader.read()).value ?? "\n";
      const [line, ...rest] = seen.split("\n");
      seen = rest.join("\n");
      return line!;
    },
    async end() {
      await writer.close();
      await reader.cancel();
      await child.status;
    },
  };
}
const CONFIG = new URL("../../../deno.json", import.meta.url).pathname;

Deno.test("DMN-3: of two that start together, 100 times, exactly one serves and the other is told", async () => {
  await withDirectory(async (directory) => {
    const script = `${directory}/racer.ts`;
    await Deno.writeTextFile(script, RACER);
    const racers = [startRacer(script), startRacer(script)];
    await Deno.mkdir(`${directory}/s`, { mode: 0o700 });
    const path = `${directory}/s/openboxd.sock`;
    const wins = [0, 0];
    for (let round = 0; round < 100; round++) {
      await Promise.all(racers.map((racer) => racer.tell(path)));
      const words = await Promise.all(racers.map((racer) => racer.says()));
      assert.deepEqual(words.toSorted(), ["conflict", "serves"], `round ${round}`);
      wins[words.indexOf("serves")]!++;
      // the winner's socket is there, whoever came late
      (await Deno.connect({ transport: "unix", path })).close();
      await Promise.all(racers.map((racer) => racer.tell("on")));
      await Promise.all(racers.map((racer) => racer.says()));
    }
    assert.equal(wins[0]! + wins[1]!, 100);
    await Promise.all(racers.map((racer) => racer.end()));
  });
});
