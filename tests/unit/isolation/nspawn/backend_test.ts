/** What is nspawn's own; what every backend promises is in tests/contract, sessions in tests/unit/session. */
import assert from "node:assert/strict";
import { concat, text, utf8 } from "../../../../src/bytes.ts";
import type { Command, Exit } from "../../../../src/isolation/backend.ts";
import { type NspawnBackend, openNspawnBackend } from "../../../../src/isolation/nspawn/backend.ts";
import type { IsolationSpec } from "../../../../src/isolation/spec.ts";
import { command, finish } from "../../../contract/isolation.ts";
import { requireComponent } from "../../../fixtures/component.ts";
import { makeTree, type TreeOptions } from "../../../fixtures/nspawn_tree.ts";
import { eventually, isAlive, processesOf } from "../../../fixtures/processes.ts";

interface World {
  readonly backend: NspawnBackend;
  readonly root: string;
  readonly spec: IsolationSpec;
  run(line: string, more?: Partial<Command>, input?: string): ReturnType<typeof finish>;
}

function test(
  name: string,
  body: (world: World) => Promise<void>,
  { sh = "busybox", ...options }: Parameters<typeof openNspawnBackend>[0] & TreeOptions = {},
) {
  Deno.test(name, requireComponent("systemd-nspawn", "busybox", sh, "linux-root"), async () => {
    await using tree = await makeTree({ sh });
    await using backend = openNspawnBackend(options);
    const spec = { kind: "nspawn", root: tree.root } as const;
    await body({
      backend,
      root: tree.root,
      spec,
      async run(line, more, input) {
        await using process = await backend.run(spec, command(line, more));
        return await finish(process, input);
      },
    });
  });
}

const VOLATILE = { confinement: { volatile: true } } as const;
const exited = (code: number): Exit => ({ kind: "exit", code });

test("ISO-2, RUN-5: every code comes as it was, 133 and those above 128 too", async ({ run }) => {
  const codes = [0, 1, 2, 77, 126, 127, 133, 143, 254, 255];
  const exits = await Promise.all(
    codes.map(async (code) => (await run(`exit ${code}`, VOLATILE)).exit),
  );
  assert.deepEqual(exits, codes.map(exited));
});

for (const sh of ["busybox", "bash", "dash"] as const) {
  test(
    `ISO-2, RUN-5: ${sh}: death by a signal is told, and nothing is said of it`,
    async ({ run }) => {
      const signals = [["HUP", 1], ["INT", 2], ["KILL", 9], ["SEGV", 11], ["TERM", 15]] as const;
      for (const [signal, number] of signals) {
        const { exit, err } = await run(`kill -${signal} $$`);
        assert.deepEqual([exit, err], [{ kind: "signal", signal, number }, ""]);
        assert.deepEqual(
          (await run(`exit ${128 + number}`)).exit,
          signal === "INT" ? exit : exited(128 + number),
        );
      }
      const { exit } = await run("kill -35 $$");
      assert.deepEqual(exit, { kind: "signal", signal: "RT35", number: 35 });
    },
    { sh },
  );
}

test(
  "ISO-2, RUN-18: bash: variables that the shell keeps for itself do not end it",
  async ({ run }) => {
    const env = { PATH: "/usr/bin:/bin", UID: "7", PPID: "8", BASHOPTS: "x", X: "a\nb'c" };
    const { out, exit } = await run("env", { env });
    assert.match(out, /^X=a\nb'c$/m);
    assert.deepEqual(exit, exited(0));
  },
  { sh: "bash" },
);

test("ISO-2, RUN-7: what cannot be run is 127 or 126, as a shell has it", async ({ run }) => {
  const { exit } = await run("no-such-command");
  assert.deepEqual(exit, exited(127));
  assert.deepEqual((await run("/etc/passwd")).exit, exited(126));
  assert.deepEqual((await run("-c")).exit, exited(127));
  assert.deepEqual((await run("'")).exit, exited(2));
});

test("ISO-2, RUN-8: a line of 1 MiB, and bytes that are no text, with stdin to itself", async (world) => {
  const { out, exit } = await world.run(`: ${"x".repeat(1024 * 1024)}\ncat; exit 5`, {}, "input");
  assert.deepEqual([out, exit], ["input", exited(5)]);
  const line = concat([utf8("printf %s '"), new Uint8Array([0xff, 0xe9, 0x80]), utf8("'")]);
  assert.deepEqual([...(await world.run("", { line })).stdout], [0xff, 0xe9, 0x80]);
});

test("ISO-2, RUN-12: what runs in the background ends with the container", async ({ backend, spec }) => {
  const startedAt = performance.now();
  await using process = await backend.run(
    spec,
    command("sleep 7301 & setsid sleep 7301 & echo hi", {}),
  );
  assert.equal((await finish(process)).out, "hi\n");
  assert.ok(performance.now() - startedAt < 1_000);
  assert.deepEqual(await processesOf("sleep 7301"), []);
});

test("ISO-2, RUN-13: a tree that ignores SIGTERM is gone within two seconds", async (world) => {
  const line = `trap '' TERM; setsid sleep 7302 & sh -c "trap '' TERM; sleep 7302" & echo up; wait`;
  const process = await world.backend.run(world.spec, command(line));
  await process.stdout.getReader().read();
  const pids = await eventually("both are there", async () => {
    const found = await processesOf("sleep 7302");
    return found.length === 2 && found;
  });
  const startedAt = performance.now();
  await process[Symbol.asyncDispose]();
  assert.ok(performance.now() - startedAt < 2_500, `${performance.now() - startedAt} ms`);
  assert.equal(pids.some(isAlive), false);
  assert.deepEqual(await process.exit, { kind: "signal", signal: "KILL", number: 9 });
});

test("ISO-2, RUN-10: SIGINT reaches the group of the command, and it may catch it", async (world) => {
  await using process = await world.backend.run(
    world.spec,
    // it is the child that says it is up: a shell that is interrupted before it has one waits for that one
    command("trap 'echo caught; exit 9' INT; sh -c 'echo up; exec sleep 300'"),
  );
  const reader = process.stdout.getReader();
  await reader.read();
  process.kill("SIGINT");
  assert.equal(text((await reader.read()).value!), "caught\n");
  assert.deepEqual(await process.exit, exited(9));
});

test("ISO-2, RUN-19: a directory of the tree, relative to its root, by a link, or missing", async (world) => {
  const { root, run, backend, spec } = world;
  await Deno.mkdir(`${root}/srv/a b`, { recursive: true });
  await Deno.symlink("/srv/a b", `${root}/srv/link`);
  await Deno.symlink("/proc/1/root/../../../..", `${root}/srv/out`);
  const pwd = async (cwd: string | undefined) => (await run("pwd -P", { cwd })).out;
  assert.equal(await pwd("/srv/a b"), "/srv/a b\n");
  assert.equal(await pwd("srv/link"), "/srv/a b\n");
  assert.equal(await pwd("/srv/out"), "/\n", "the root's parent is itself");
  assert.equal(await pwd(undefined), "/\n");
  for (const cwd of ["/srv/none", "/etc/passwd"]) {
    await assert.rejects(backend.run(spec, command("true", { cwd })), { code: "bad_directory" });
  }
});

test("what is written stays in the tree, and nothing with --volatile", async ({ root, run }) => {
  await run("echo kept >/root/kept");
  assert.equal(await Deno.readTextFile(`${root}/root/kept`), "kept\n");
  const { out } = await run("cat /root/kept; echo gone >/root/gone; cat /root/gone", VOLATILE);
  assert.equal(out, "kept\ngone\n");
  await assert.rejects(Deno.stat(`${root}/root/gone`), Deno.errors.NotFound);
});

test("ISO-8: a path of the machine is mounted, read-only where that was asked for", async (world) => {
  const { root, run, backend, spec } = world;
  const source = `${root}/../with:colon`;
  await Deno.mkdir(source);
  const mounts = [
    { source, target: "/mnt/rw", readOnly: false },
    { source, target: "/mnt/ro", readOnly: true },
  ];
  const { out, err } = await run("echo in >/mnt/rw/file; cat /mnt/ro/file; echo x >/mnt/ro/file", {
    confinement: { mounts },
  });
  assert.equal(out, "in\n");
  assert.match(err, /Read-only/);
  const lost = [{ source: "/no/such/place", target: "/mnt", readOnly: false }];
  await assert.rejects(
    backend.run(spec, command("true", { confinement: { mounts: lost } })),
    { code: "mount_invalid" },
  );
});

test("the network is the machine's, and none with --net none", async ({ run }) => {
  const namespace = "readlink /proc/self/ns/net";
  const own = `${await Deno.readLink("/proc/self/ns/net")}\n`;
  assert.equal((await run(namespace)).out, own);
  const none = { confinement: { net: "none" } } as const;
  assert.notEqual((await run(namespace, none)).out, own);
  const interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '";
  assert.equal((await run(interfaces, none)).out, "lo\n");
});

test("KIL-10: a tree's command goes before the agent does where memory runs out", async ({ run }) => {
  assert.equal((await run("cat /proc/self/oom_score_adj")).out, "500\n");
});

test("EXE-11: no device node of the machine can be made", async ({ run }) => {
  const { exit, err } = await run("mknod /root/disk b 254 0");
  assert.notDeepEqual(exit, exited(0));
  assert.match(err, /not permitted/);
});

test("ISO-7: what nspawn cannot hold is refused before anything starts", async ({ backend, spec }) => {
  const refused = [
    { net: "bridge" },
    { shmBytes: 1024 },
    { gpus: "all" },
    { untrusted: true },
  ] as const;
  for (const confinement of refused) {
    await assert.rejects(
      backend.run(spec, command("true", { confinement })),
      { code: "limit_unsupported" },
    );
  }
  const account = { name: "nobody", uid: 65534, gid: 65534 };
  await assert.rejects(backend.run(spec, command("true", { account })), {
    code: "limit_unsupported",
  });
});

test("one run at a time has a tree; a second one waits, or is told what has it", async (world) => {
  const { backend, spec, run } = world;
  const line = "[ ! -e /root/here ] || echo crossed; touch /root/here; sleep 0.05; rm /root/here";
  const ran = await Promise.all(["a", "b", "c"].map(() => run(line)));
  assert.deepEqual(ran.map(({ out, exit }) => [out, exit]), Array(3).fill(["", exited(0)]));

  const busy = await backend.run(spec, command("sleep 300"));
  const stop = new AbortController();
  const waiting = backend.run(spec, command("true"), stop);
  stop.abort(new Error("given up"));
  await assert.rejects(waiting, /given up/);
  await busy[Symbol.asyncDispose]();

  const argv = ["/bin/sh"], env = {}, cwd = "/";
  await using session = await backend.keepShell(spec, { argv, env, cwd });
  await assert.rejects(run("true"), { code: "conflict" });
  await session[Symbol.asyncDispose]();
  assert.deepEqual((await run("true")).exit, exited(0));
});

test("a tree that another container of the machine has is refused as that", async (world) => {
  await using other = openNspawnBackend();
  await using _busy = await other.run(world.spec, command("sleep 300"));
  await assert.rejects(world.run("true"), { code: "conflict" });
});

test("ISO-2, RUN-1, EXE-7: /dev/stderr opens anew, and there is no descriptor beyond the three", async ({ run }) => {
  const { out, err } = await run(
    "echo a >/dev/stderr; echo b >/dev/stdout; umask; for fd in /proc/self/fd/*; do echo ${fd##*/}; done",
  );
  // the glob's own descriptor is 3
  assert.deepEqual([out, err], ["b\n0022\n0\n1\n2\n3\n", "a\n"]);
});

test("ISO-2, RUN-14: a producer waits for its consumer, and what it wrote is whole", async (world) => {
  await using process = await world.backend.run(
    world.spec,
    command("head -c 3000000 /dev/zero; echo end >&2"),
  );
  let length = 0;
  for await (const chunk of process.stdout) {
    length += chunk.length;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.equal(length, 3_000_000);
});

test("ISO-6: disposing the backend ends what still goes on, sessions too", async (world) => {
  const { spec } = world;
  await using session = await makeTree();
  const backend = openNspawnBackend();
  await backend.run(spec, command("setsid sleep 7318 & sleep 7318"));
  const shell = await backend.keepShell(
    { kind: "nspawn", root: session.root },
    { argv: ["/bin/sh"], env: {}, cwd: "/" },
  );
  await shell.tell("sleep 7318\n");
  await eventually("all are there", async () => (await processesOf("sleep 7318")).length === 3);
  await backend[Symbol.asyncDispose]();
  assert.deepEqual(await processesOf("sleep 7318"), []);
});

test("ISO-6: where nspawn itself is killed, its container does not outlive the run or the session", async (world) => {
  const { backend, root, spec } = world;
  const nspawn = async () => {
    const { stdout } = await new Deno.Command("/bin/ps", {
      args: ["-ww", "-A", "-o", "pid=,args="],
    }).output();
    const line = text(stdout).split("\n").find((line) =>
      /^ *\d+ systemd-nspawn /.test(line) && line.includes(` --directory=${root} `)
    );
    return Number.parseInt(line!);
  };
  {
    await using process = await backend.run(spec, command("setsid sleep 7319 & sleep 7319"));
    await eventually("both are there", async () => (await processesOf("sleep 7319")).length === 2);
    Deno.kill(await nspawn(), "SIGKILL");
    assert.deepEqual(await process.exit, { kind: "signal", signal: "KILL", number: 9 });
  }
  assert.deepEqual(await processesOf("sleep 7319"), []);
  {
    await using shell = await backend.keepShell(spec, { argv: ["/bin/sh"], env: {}, cwd: "/" });
    await shell.tell("setsid sleep 7320 & sleep 7320\n");
    await eventually("both are there", async () => (await processesOf("sleep 7320")).length === 2);
    Deno.kill(await nspawn(), "SIGKILL");
    await shell.exit;
  }
  assert.deepEqual(await processesOf("sleep 7320"), []);
});

test("ISO-2, RUN-20: what is printed on a terminal is whole, to the last byte before the exit", async (world) => {
  const { backend, spec } = world;
  const expected = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\r\n`).join("");
  await Promise.all(Array.from({ length: 8 }, async () => {
    await using process = await backend.run(
      spec,
      command("seq 1 20000", { terminal: { cols: 80, rows: 24 }, ...VOLATILE }),
    );
    assert.equal((await finish(process)).out === expected, true);
  }));
});

test("ISO-2, RUN-9: a terminal that nobody looks at any more ends its container", async (world) => {
  const process = await world.backend.run(
    world.spec,
    command("trap '' HUP; setsid sleep 7321 & yes", { terminal: { cols: 80, rows: 24 } }),
  );
  const reader = process.stdout.getReader();
  await reader.read();
  await reader.cancel();
  await process.exit;
  await process[Symbol.asyncDispose]();
  assert.deepEqual(await processesOf("sleep 7321"), []);
  assert.deepEqual((await world.run("exit 3")).exit, exited(3), "the tree is free");
});

test("ISO-2, RUN-20: a paste of 1 MiB arrives whole", async ({ backend, spec }) => {
  const size = 1024 * 1024, line = `stty raw -echo; echo go; head -c ${size} | sha256sum`;
  await using process = await backend.run(
    spec,
    command(line, { terminal: { cols: 80, rows: 24 } }),
  );
  const paste = utf8("0123456789abcde\n".repeat(size / 16));
  const reader = process.stdout.getReader(), writer = process.stdin.getWriter();
  let seen = "";
  const read = async () => {
    const { value, done } = await reader.read();
    seen += value ? text(value) : "";
    return !done;
  };
  while (!seen.includes("go") && await read());
  await Promise.all([
    writer.write(paste),
    (async () => {
      while (await read());
    })(),
  ]);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", paste)).toHex();
  assert.match(seen, new RegExp(`\\n${hash} `));
});

test("a tree, and a directory in it, with blanks and colons in their names", async ({ backend, root }) => {
  const odd = root.replace(/tree$/, "a b:c'd");
  await Deno.rename(root, odd);
  await Deno.mkdir(`${odd}/e f:g`);
  await using process = await backend.run(
    { kind: "nspawn", root: odd },
    command("pwd", { cwd: "/e f:g" }),
  );
  assert.equal((await finish(process)).out, "/e f:g\n");
});

test("ISO-6: a container that ended leaves no mount and no file of its own", async (world) => {
  const { root, run } = world;
  await run("true");
  await world.backend[Symbol.asyncDispose]();
  assert.equal((await Deno.readTextFile("/proc/self/mountinfo")).includes(root), false);
  const beside = await Array.fromAsync(Deno.readDir(`${root}/..`), ({ name }) => name);
  assert.deepEqual(beside, ["tree"]);
});

test("without a cgroup a container ends with all that is in it, too", async ({ backend, spec }) => {
  const process = await backend.run(spec, command("setsid sleep 7303 & echo up; sleep 7303"));
  await process.stdout.getReader().read();
  // "up" is written by the shell that starts the one and becomes the other
  await eventually("both run", async () => (await processesOf("sleep 7303")).length === 2);
  await process[Symbol.asyncDispose]();
  await eventually("all are gone", async () => (await processesOf("sleep 7303")).length === 0);
}, { findCgroups: () => Promise.resolve(undefined) });

Deno.test("CERT-4: a docker or native spec is none for nspawn", async () => {
  await using backend = openNspawnBackend();
  for (const spec of [{ kind: "native" }, { kind: "docker", image: "x" }] as const) {
    await assert.rejects(backend.run(spec, command("true")), { code: "isolation_unavailable" });
    await assert.rejects(backend.findProgram(spec, ["/bin/sh"]), {
      code: "isolation_unavailable",
    });
  }
});
