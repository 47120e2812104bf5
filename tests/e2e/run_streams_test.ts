/** What goes in and what comes out of one run: docs/fidelity.md RUN-1 to RUN-4, RUN-9, RUN-17. */
import assert from "node:assert/strict";
import { concat, text } from "../../src/bytes.ts";
import { requireComponent } from "../fixtures/component.ts";
import { startFleet, step } from "../fixtures/fleet.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";
import { openTerminal } from "../fixtures/terminal.ts";

const MIB = 1024 * 1024;

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65_536, length)));
  }
  return bytes;
}

const sha256 = async (bytes: Uint8Array): Promise<string> =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(bytes))).toHex();

Deno.test("the streams of a run", async (t) => {
  await using fleet = await startFleet();
  const at = (...args: string[]) => ["-t", "box", ...args];

  await step(
    t,
    "RUN-1: bytes on the right streams, nothing added, no newline invented",
    async () => {
      const { code, out, err } = await fleet.call(at("printf out; printf err >&2"));
      assert.deepEqual([code, out, err], [0, "out", "err"]);
    },
  );

  await step(
    t,
    "RUN-2: 16 MiB of random bytes through stdin, stdout and stderr keep their SHA-256",
    async () => {
      const input = randomBytes(16 * MIB), wanted = await sha256(input);
      const errFile = `${fleet.scratch}/err`;
      const onStdout = await fleet.call(at("cat"), { stdin: input });
      assert.equal(await sha256(onStdout.stdout), wanted);
      const both = await fleet.shell(`openbox -t box 'tee /dev/stderr' 2>${errFile}`, {
        stdin: input,
      });
      assert.equal(await sha256(both.stdout), wanted);
      assert.equal(await sha256(await Deno.readFile(errFile)), wanted);
      const onStderr = await fleet.shell(`openbox -t box 'cat >&2' 2>${errFile}`, { stdin: input });
      assert.equal(onStderr.stdout.length, 0);
      assert.equal(await sha256(await Deno.readFile(errFile)), wanted);
    },
  );

  await step(t, "RUN-3: the end of the input travels, whatever the input is", async () => {
    assert.equal((await fleet.call(at("wc", "-l"), { stdin: "a\nb\n" })).out.trim(), "2");
    assert.equal((await fleet.call(at("wc", "-c"), { stdin: "" })).out.trim(), "0");
    assert.equal((await fleet.call(at("wc", "-c"))).out.trim(), "0"); // /dev/null
    assert.equal((await fleet.shell("openbox -t box wc -c <&-")).out.trim(), "0");
    assert.equal((await fleet.shell("openbox -t box wc -c < /")).out.trim(), "0");
  });

  await step(t, "RUN-3: an input that stays open does not hold a command that ends", async () => {
    await using child = fleet.spawn(at("echo hi"));
    assert.equal(text(concat(await Array.fromAsync(child.stdout))), "hi\n");
    assert.equal((await child.status).code, 0);
    await child.stdin.close().catch(() => {});
    await child.stderr.cancel();
  });

  await step(
    t,
    "EXE-2: a command that reads nothing of a long input ends, and so do we",
    async () => {
      const { code, out } = await fleet.call(at("echo done"), { stdin: new Uint8Array(32 * MIB) });
      assert.deepEqual([code, out], [0, "done\n"]);
      const some = await fleet.call(at("head -c 3"), { stdin: "x".repeat(8 * MIB) });
      assert.deepEqual([some.code, some.out], [0, "xxx"]);
    },
  );

  await step(t, "EXE-2: a slow producer's bytes arrive as they come", async () => {
    await using child = fleet.spawn(at("cat"));
    const writer = child.stdin.getWriter(), reader = child.stdout.getReader();
    for (const word of ["one", "two", "three"]) {
      await writer.write(new TextEncoder().encode(word));
      assert.equal(text((await reader.read()).value!), word);
    }
    await writer.close();
    assert.equal((await reader.read()).done, true);
    assert.equal((await child.status).code, 0);
    await child.stderr.cancel();
  });

  await step(
    t,
    "RUN-9: `yes | head -1` ends both ends within a second, and leaves nothing",
    async () => {
      const pids = `${fleet.scratch}/yes`, code = `${fleet.scratch}/code`;
      const script =
        `{ openbox -t box 'echo $$ > ${pids}; exec yes'; echo $? > ${code}; } | head -1`;
      const from = Date.now();
      const { out, err } = await fleet.shell(script);
      assert.deepEqual([out, err], ["y\n", ""]);
      assert(Date.now() - from < 3000);
      assert.equal((await Deno.readTextFile(code)).trim(), "141");
      const [pid] = await pidsIn(pids, 1);
      await eventually("yes is gone from the node", () => !isAlive(pid!), 1000);
    },
  );

  await step(
    t,
    "RUN-9: with --json one reader has both, so its end ends what only writes to stderr",
    async () => {
      const pids = `${fleet.scratch}/yes-err`, code = `${fleet.scratch}/code-err`;
      const { out } = await fleet.shell(
        `{ openbox --json -t box 'echo $$ > ${pids}; exec yes >&2'; echo $? > ${code}; } | head -1`,
      );
      assert.match(out, /^\{"stream":"stderr",.*\}\n$/);
      assert.equal((await Deno.readTextFile(code)).trim(), "141");
      const [pid] = await pidsIn(pids, 1);
      await eventually("yes is gone from the node", () => !isAlive(pid!), 1000);
    },
  );

  await step(
    t,
    "an output that cannot be written is told once, as what is wrong here",
    async () => {
      for (const flags of ["", "--json"]) {
        const { code, err } = await fleet.shell(`openbox ${flags} -t box echo hi >/dev/full`);
        assert.equal(code, 255);
        assert.match(
          err,
          /^openbox: output_failed: Cannot write to stdout here: No space left[^\n]*\n$/,
        );
      }
    },
  );

  await step(t, "RUN-9: a reader that closes stderr alone does not end the command", async () => {
    const code = `${fleet.scratch}/code`;
    const command = "for i in 1 2 3; do echo e >&2; sleep 0.1; done; echo out; exit 5";
    const { out } = await fleet.shell(
      `{ { openbox -t box '${command}'; echo $? > ${code}; } 2>&1 1>&3 | true; } 3>&1`,
    );
    assert.deepEqual([out, (await Deno.readTextFile(code)).trim()], ["out\n", "5"]);
  });

  await step(t, "RUN-17: lines arrive as they are written, not at the end", async () => {
    const script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do date +%s%3N; sleep 0.05; done";
    const lateness = async (command: Deno.ChildProcess) => {
      await using child = command;
      const lates: number[] = [];
      for await (const chunk of child.stdout) {
        for (const line of text(chunk).trim().split("\n")) lates.push(Date.now() - Number(line));
      }
      await child.stderr.cancel();
      await child.status;
      assert.equal(lates.length, 12);
      return lates.toSorted((a, b) => a - b)[6]!;
    };
    const here = new Deno.Command("/bin/sh", {
      args: ["-c", script],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
    // beside it the same script without openbox: how late a machine is that is busy with other tests
    const [there, itself] = await Promise.all([
      lateness(fleet.spawn(at(script), { stdin: "null" })),
      lateness(here.spawn()),
    ]);
    assert(there - itself <= 20, `late by ${there} ms, and by ${itself} ms without openbox`);
  });
});

Deno.test({
  name:
    "RUN-4: with a terminal as input a command's end is the end, and what is typed after it is the shell's",
  ...requireComponent("script"),
  async fn() {
    await using fleet = await startFleet();
    const line = "openbox -t box echo ra''n; echo code=$?; read word; echo got=$word";
    await using terminal = openTerminal(line, fleet.env);
    await terminal.shows("code=0"); // without a key
    await terminal.type("hello\r");
    await terminal.shows("got=hello");
  },
});
