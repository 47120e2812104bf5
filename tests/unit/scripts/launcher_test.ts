/** The text at the head of the built executable: how it unpacks itself once, and what it starts Deno with. */
import assert from "node:assert/strict";
import { findProgram, requireComponent } from "../../fixtures/component.ts";
import { copyProgram } from "../../fixtures/copy_program.ts";
import { eventually } from "../../fixtures/processes.ts";
import { makeSmallExecutable, type SmallExecutable } from "./small_executable.ts";

/** The directory that it unpacked into. */
function unpacked({ cache, kept }: SmallExecutable): string {
  const names = kept();
  assert.equal(names.length, 1, names.join());
  assert.match(names[0]!, /^[0-9a-f]{32}$/);
  return `${cache}/${names[0]}`;
}

const inode = (path: string) => Deno.statSync(path).ino;
const mode = (path: string) => Deno.statSync(path).mode! & 0o777;

Deno.test("it unpacks at the first start and not again, and hands on words, directory and environment", async () => {
  await using small = await makeSmallExecutable();
  const args = ["-t", "x", "printf", "%s\n", "a  b", "", "*", "$HOME", "'", '"', "line\nline\n"];
  const first = await small.start(args, { cwd: "/", env: { openbox_dir: "mine", version: "1" } });
  assert.equal(first.stderr, "");
  assert.deepEqual(first.told().args, args);
  assert.equal(first.told().env.PWD, "/");
  assert.equal(first.told().env.version, "1");
  assert.equal(first.told().env.OPENBOX_PROGRAM, small.path);
  const dir = unpacked(small), before = inode(dir);
  assert.equal(first.told().main, `file://${await Deno.realPath(dir)}/main.js`);
  assert.equal(mode(dir), 0o700);
  const second = await small.start(["nodes"]);
  assert.deepEqual(second.told().args, ["nodes"]);
  assert.equal(inode(unpacked(small)), before);
});

Deno.test("every shell that may be /bin/sh can start it", async (t) => {
  for (const shell of ["dash", "bash", "busybox"] as const) {
    await t.step({
      name: shell,
      ...requireComponent(shell),
      async fn() {
        await using small = await makeSmallExecutable();
        const wrapper = [findProgram(shell)!, ...(shell === "busybox" ? ["sh"] : [])];
        for (let i = 0; i < 2; i++) {
          const { told, stderr } = await small.start(["-t", "a b", "c"], { wrapper });
          assert.deepEqual(told().args, ["-t", "a b", "c"]);
          assert.equal(stderr, "");
        }
        unpacked(small);
      },
    });
  }
});

Deno.test("however the caller has ls show things, in whatever time zone, it is unpacked once", async () => {
  await using small = await makeSmallExecutable();
  await small.start();
  const before = inode(unpacked(small));
  const environments: Record<string, string>[] = [
    { TIME_STYLE: "full-iso", QUOTING_STYLE: "shell-always", LANG: "de_DE.UTF-8" },
    { BLOCK_SIZE: "human-readable", LS_BLOCK_SIZE: "K", LS_COLORS: "di=1" },
    { TZ: "Pacific/Kiritimati" },
    { TZ: "America/Los_Angeles", LC_ALL: "fr_FR.UTF-8" },
    { POSIXLY_CORRECT: "1", COLUMNS: "20" },
  ];
  for (const env of environments) {
    assert.equal((await small.start([], { env })).code, 0);
    assert.equal(inode(unpacked(small)), before, JSON.stringify(env));
  }
});

Deno.test("found by PATH, by a link or by a relative path, it names itself by a whole one", async () => {
  await using small = await makeSmallExecutable();
  const directory = small.path.slice(0, -"/openbox".length);
  await Deno.symlink(small.path, `${small.scratch}/box`);
  const program = async (path: string, cwd?: string, env?: Record<string, string>) =>
    (await small.start([], { path, cwd, env })).told().env.OPENBOX_PROGRAM;
  const here = await small.start([], {
    wrapper: ["sh", "-c", 'cd "$1" && exec ./openbox', "sh"],
    path: directory,
  });
  assert.equal(here.told().env.OPENBOX_PROGRAM, `${directory}/./openbox`);
  assert.equal(await program("openbox", "/", { PATH: `${directory}:/usr/bin:/bin` }), small.path);
  assert.equal(await program(`${small.scratch}/box`), `${small.scratch}/box`);
  const { told } = await small.start(["openbox"], {
    wrapper: ["sh"],
    path: "openbox",
    cwd: directory,
  });
  assert.equal(told().env.OPENBOX_PROGRAM, `${directory}/openbox`);
});

Deno.test("eight first starts at once all work and leave one directory", async () => {
  await using small = await makeSmallExecutable({ ballast: 200_000 });
  const starts = await Promise.all(Array.from({ length: 8 }, (_, i) => small.start([`${i}`])));
  assert.deepEqual(starts.map(({ told }) => told().args[0]), [
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
  ]);
  unpacked(small);
});

Deno.test("killed at any point of its first start, the next start works and nothing is left of it", async () => {
  await using small = await makeSmallExecutable({ ballast: 200_000 });
  let interrupted = 0;
  for (let delay = 0; delay < 120; delay += 8) {
    await Deno.remove(small.cache, { recursive: true }).catch(() => {});
    const child = small.spawn(["x"], { wrapper: ["setsid"] });
    const output = child.output();
    await new Promise((resolve) => setTimeout(resolve, delay));
    // its children too, as when the machine goes down
    await new Deno.Command("kill", { args: ["-9", "--", `-${child.pid}`], stderr: "null" })
      .output();
    if ((await output).signal) interrupted++;
    const { told, stderr } = await small.start(["after"]);
    assert.deepEqual(told().args, ["after"], `after ${delay} ms: ${stderr}`);
    unpacked(small);
  }
  assert.ok(interrupted > 2, `${interrupted} of the starts were interrupted`);
});

Deno.test("ended by a signal in its first start, it leaves nothing", async () => {
  await using small = await makeSmallExecutable({
    before: `case $* in *settle*) sleep 30 ;; esac`,
  });
  const child = small.spawn(["x"], { wrapper: ["setsid"] });
  await eventually("it unpacks", () => {
    try {
      return small.kept().length === 1;
    } catch {
      return false;
    }
  });
  await new Deno.Command("kill", { args: ["-TERM", "--", `-${child.pid}`] }).output();
  await child.output();
  assert.deepEqual(small.kept(), []);
});

Deno.test({
  name: "without space it says so, and works once there is some",
  ...requireComponent("linux-root"),
  async fn() {
    await using small = await makeSmallExecutable({ ballast: 2_000_000 });
    await using disk = await mountedDirectory("size=1m,mode=700");
    const env = { OPENBOX_CACHE: `${disk.path}/cache` };
    const full = await small.start(["-t", "x", "true"], { env });
    assert.equal(full.code, 255);
    assert.match(
      full.stderr,
      /^openbox: unavailable: No space to unpack openbox into .*\/cache\n +hint: free \d+ MB there/,
    );
    assert.deepEqual([...Deno.readDirSync(env.OPENBOX_CACHE)], []);
    await disk.remount("size=20m");
    assert.equal((await small.start(["x"], { env })).code, 0);
  },
});

Deno.test({
  name: "where no program may be run it says that, and what to do",
  ...requireComponent("linux-root"),
  async fn() {
    await using small = await makeSmallExecutable();
    await using disk = await mountedDirectory("mode=700,noexec");
    const { code, stderr } = await small.start(["nodes"], { env: { OPENBOX_CACHE: disk.path } });
    assert.equal(code, 6);
    assert.match(
      stderr,
      /does not let programs be run: it may be mounted noexec\n +hint: export OPENBOX_CACHE=/,
    );
    assert.deepEqual([...Deno.readDirSync(disk.path)], []);
  },
});

Deno.test("a download that is cut or changed is told, and nothing of it is kept", async () => {
  await using small = await makeSmallExecutable({ ballast: 20_000 });
  const whole = await Deno.readFile(small.path);
  const start = new TextDecoder("latin1").decode(whole).indexOf("\nexit\n") + 6;
  const broken: [string, Uint8Array][] = [
    ["cut", whole.subarray(0, start)],
    ...[0.1, 0.5, 0.9].map((part): [string, Uint8Array] => [
      `cut at ${part}`,
      whole.subarray(0, start + Math.floor((whole.length - start) * part)),
    ]),
    ...[0.2, 0.6, 0.95].map((part): [string, Uint8Array] => {
      const changed = whole.slice();
      changed[start + Math.floor((whole.length - start) * part)]! ^= 1;
      return [`changed at ${part}`, changed];
    }),
  ];
  for (const [what, bytes] of broken) {
    const path = `${small.scratch}/broken`;
    await Deno.writeFile(path, bytes, { mode: 0o755 });
    const { code, stdout, stderr } = await small.start(["nodes"], { path });
    assert.deepEqual([code, stdout], [6, ""], `${what}: ${stderr}`);
    assert.match(
      stderr,
      /^openbox: unavailable: .*\/broken is not whole: [^]*\n +hint: download it again\n$/,
      what,
    );
    assert.deepEqual(small.kept(), []);
  }
});

Deno.test("what was changed in the cache is not run: it is unpacked anew", async () => {
  await using small = await makeSmallExecutable();
  await small.start();
  const dir = unpacked(small);
  const changes: [string, () => Promise<void>][] = [
    ["others may write there", () => Deno.chmod(dir, 0o777)],
    ["others may read there", () => Deno.chmod(dir, 0o755)],
    [
      "a longer program",
      () => Deno.writeTextFile(`${dir}/main.js`, "console.log(1)", { append: true }),
    ],
    ["a shorter Deno", () => Deno.truncate(`${dir}/deno`, 10)],
    ["others may write to Deno", () => Deno.chmod(`${dir}/deno`, 0o777)],
    ["a file is gone", () => Deno.remove(`${dir}/chunk_1.js`)],
    ["a file more", () => Deno.writeTextFile(`${dir}/chunk_2.js`, "")],
  ];
  for (const [what, change] of changes) {
    await change();
    const before = inode(dir);
    const { told } = await small.start(["x"]);
    assert.deepEqual(told().args, ["x"], what);
    assert.notEqual(inode(unpacked(small)), before, what);
    assert.equal(mode(dir), 0o700, what);
  }
});

Deno.test({
  name: "a cache of somebody else, or into which others may write, is refused",
  ...requireComponent("linux-root"),
  async fn() {
    await using small = await makeSmallExecutable();
    await small.start();
    const dir = unpacked(small);
    await Deno.chown(dir, 65534, 65534);
    const theirs = await small.start(["nodes"]);
    assert.deepEqual(theirs.told().args, ["nodes"]); // it is in our own cache: taken away, and made anew
    assert.equal((await Deno.stat(dir)).uid, 0);
    for (
      const spoil of [
        () => Deno.chmod(small.cache, 0o777),
        () => Deno.chown(small.cache, 65534, 65534),
      ]
    ) {
      await spoil();
      const { code, stdout, stderr } = await small.start(["nodes"]);
      assert.deepEqual([code, stdout], [6, ""]);
      assert.match(
        stderr,
        /belongs to another user, or others may write there\n +hint: export OPENBOX_CACHE=/,
      );
      await Deno.chmod(small.cache, 0o700);
    }
  },
});

Deno.test("CFG-9: without a home, or where nothing can be made, the way out is said", async () => {
  await using small = await makeSmallExecutable();
  const nowhere = await small.start(["run", "-t", "x"], { env: { HOME: "", OPENBOX_CACHE: "" } });
  assert.equal(nowhere.code, 255);
  assert.match(
    nowhere.stderr,
    /^openbox: unavailable: .*neither OPENBOX_CACHE nor HOME is set\n +hint: export OPENBOX_CACHE=/,
  );
  const file = `${small.scratch}/file`;
  await Deno.writeTextFile(file, "");
  const blocked = await small.start(["nodes"], { env: { OPENBOX_CACHE: `${file}/cache` } });
  assert.equal(blocked.code, 6);
  assert.match(
    blocked.stderr,
    /^openbox: unavailable: Cannot make the directory .*\/cache to unpack into\n +hint:/,
  );
  const home = await small.start(["x"], { env: { HOME: small.scratch, OPENBOX_CACHE: "" } });
  assert.match(
    home.told().main,
    /\/scratch\/(\.cache|Library\/Caches)\/openbox\/[0-9a-f]{32}\/main\.js$/,
  );
});

/** Programs in front of those of the system. */
async function pretend(small: SmallExecutable, programs: Record<string, string>) {
  const bin = await Deno.makeTempDir({ dir: small.scratch });
  for (const [name, line] of Object.entries(programs)) {
    await Deno.writeTextFile(`${bin}/${name}`, `#!/bin/sh\n${line}\n`, { mode: 0o755 });
  }
  return { env: { PATH: `${bin}:${Deno.env.get("PATH")}` } };
}

Deno.test("a machine that it is not for is told by name, before anything is unpacked", async (t) => {
  const system = (os: string, machine: string) => ({
    uname: `case $1 in -s) echo ${os} ;; -m) echo ${machine} ;; *) echo host ;; esac`,
  });
  await t.step("another processor or system", async () => {
    await using small = await makeSmallExecutable({ target: "linux-arm64" });
    for (const [os, machine] of [["Linux", "x86_64"], ["Darwin", "arm64"], ["FreeBSD", "amd64"]]) {
      const { code, stderr } = await small.start([], await pretend(small, system(os!, machine!)));
      assert.equal(code, 6);
      assert.match(
        stderr,
        new RegExp(`for linux-arm64, and this machine is ${os} on ${machine}\\n +hint: `),
      );
    }
  });
  await t.step("an older glibc", async () => {
    await using small = await makeSmallExecutable({ target: "linux-x64" });
    const old = await pretend(small, { ...system("Linux", "x86_64"), getconf: "echo glibc 2.17" });
    assert.match(
      (await small.start([], old)).stderr,
      /has glibc 2\.17; openbox needs 2\.27 or newer\n +hint: /,
    );
    for (const enough of ["2.27", "2.39.1", "3.0"]) {
      const machine = { ...system("Linux", "x86_64"), getconf: `echo glibc ${enough}` };
      assert.equal((await small.start([], await pretend(small, machine))).stderr, "", enough);
    }
  });
  await t.step("an older macOS", async () => {
    await using small = await makeSmallExecutable({ target: "macos-arm64" });
    const mac = (version: string) =>
      pretend(small, { ...system("Darwin", "arm64"), sw_vers: `echo ${version}` });
    assert.match(
      (await small.start([], await mac("11.7.10"))).stderr,
      /is macOS 11\.7\.10; openbox needs 12\.0 or newer/,
    );
    assert.equal((await small.start([], await mac("15.1"))).stderr, "");
  });
});

Deno.test({
  name: "musl is refused by name, with the way out",
  ...requireComponent("linux-root", "busybox"),
  async fn() {
    await using small = await makeSmallExecutable({ target: "linux-x64" });
    const tree = `${small.scratch}/alpine`;
    for (const folder of ["bin", "lib", "root", "tmp"]) {
      await Deno.mkdir(`${tree}/${folder}`, { recursive: true });
    }
    await copyProgram(findProgram("busybox")!, tree, "/bin");
    for (const name of ["sh", "ls", "uname", "mkdir", "rm"]) {
      await Deno.symlink("busybox", `${tree}/bin/${name}`);
    }
    await Deno.writeTextFile(`${tree}/lib/ld-musl-x86_64.so.1`, "");
    await Deno.copyFile(small.path, `${tree}/bin/openbox`);
    const { code, stderr } = await small.start(["nodes"], {
      wrapper: [findProgram("chroot")!, tree],
      path: "/bin/openbox",
      env: { PATH: "/bin", HOME: "/root", OPENBOX_CACHE: "" },
    });
    assert.equal(code, 6, stderr);
    assert.match(
      stderr,
      /has musl, as Alpine does; .* needs glibc 2\.27 or newer\n +hint: run it on Debian/,
    );
  },
});

Deno.test("what unpacking needs and is not there is named", async () => {
  await using small = await makeSmallExecutable();
  const bin = `${small.scratch}/bin`;
  await Deno.mkdir(bin);
  const tools = [
    "sh",
    "ls",
    "uname",
    "getconf",
    "sed",
    "cat",
    "mkdir",
    "rm",
    "mv",
    "tail",
    "tar",
    "sw_vers",
    "sha256sum",
  ];
  const link = async (name: string) => {
    const found = findProgram(name);
    if (found) await Deno.symlink(found, `${bin}/${name}`);
  };
  for (const name of tools) await link(name);
  const { stderr } = await small.start([], { env: { PATH: bin } });
  assert.match(stderr, /for which gzip is missing\n +hint: install gzip/);
  await link("gzip");
  for (const name of ["sha256sum"]) await Deno.remove(`${bin}/${name}`);
  const unchecked = await small.start([], { env: { PATH: bin } });
  assert.match(unchecked.stderr, /there is neither sha256sum nor shasum nor openssl/);
  for (const checker of ["shasum", "openssl", "sha256sum"]) {
    if (!findProgram(checker)) continue;
    await link(checker);
    await Deno.remove(small.cache, { recursive: true }).catch(() => {});
    const { code, stderr } = await small.start([], { env: { PATH: `${bin}:/nowhere` } });
    assert.equal(code, 0, `${checker}: ${stderr}`);
    await Deno.remove(`${bin}/${checker}`);
  }
});

Deno.test("other versions go a month after they were unpacked, unless something runs from them", async () => {
  await using small = await makeSmallExecutable();
  const old = (digit: string) => `${small.cache}/${digit.repeat(32)}`;
  const names = { old: old("a"), used: old("b"), young: old("c"), strange: `${small.cache}/notes` };
  for (const path of Object.values(names)) {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
    await Deno.writeTextFile(`${path}/deno`, "#!/bin/sh\nread -r _\n", { mode: 0o700 });
    await Deno.writeTextFile(`${path}/sums`, "");
    const days = path === names.young ? 10 : 40, at = Date.now() / 1000 - days * 86_400;
    await Deno.utime(`${path}/sums`, at, at);
  }
  await Deno.chmod(small.cache, 0o700);
  const running = new Deno.Command(`${names.used}/deno`, { stdin: "piped" }).spawn();
  try {
    await small.start();
  } finally {
    await running.stdin.close();
    await running.status;
  }
  const here = small.kept().map((name) => `${small.cache}/${name}`);
  assert.ok(!here.includes(names.old));
  for (const path of [names.used, names.young, names.strange]) assert.ok(here.includes(path), path);
  assert.equal(here.length, 4);
});

Deno.test("what another machine's start has left goes after a day, what this one's has left at once", async () => {
  await using small = await makeSmallExecutable();
  const host = new TextDecoder().decode(
    (await new Deno.Command("uname", { args: ["-n"] }).output()).stdout,
  ).trim();
  const ended = new Deno.Command("true").spawn();
  await ended.status;
  const left = {
    dead: `incoming.${host}.${ended.pid}`,
    alive: `incoming.${host}.${Deno.pid}`,
    elsewhere: "incoming.elsewhere.1",
    long: "incoming.elsewhere.2",
  };
  for (const name of Object.values(left)) {
    await Deno.mkdir(`${small.cache}/${name}`, { recursive: true });
  }
  await Deno.chmod(small.cache, 0o700);
  await Deno.utime(
    `${small.cache}/${left.long}`,
    Date.now() / 1000 - 3 * 86_400,
    Date.now() / 1000 - 3 * 86_400,
  );
  await small.start();
  const here = small.kept().filter((name) => name.startsWith("incoming"));
  assert.deepEqual(here, [left.alive, left.elsewhere].sort());
});

Deno.test("CFG-7: what would change Deno does not reach it", async () => {
  await using small = await makeSmallExecutable();
  const { told } = await small.start(["nodes"], {
    env: {
      DENO_DIR: "/elsewhere",
      DENO_CERT: "/x",
      DENO_TLS_CA_STORE: "system",
      DENO_V8_FLAGS: "--allow-natives-syntax",
      NODE_OPTIONS: "--require /x",
      NODE_EXTRA_CA_CERTS: "/x",
      LD_LIBRARY_PATH: "/x",
      OPENBOX_PROGRAM: "/somebody/elses",
    },
  });
  const dir = unpacked(small);
  const passed = Object.entries(told().env).filter(([name]) =>
    /^(DENO|NODE|LD|OPENBOX)_/.test(name)
  );
  assert.deepEqual(Object.fromEntries(passed), {
    DENO_DIR: `${dir}/code`,
    DENO_NO_PACKAGE_JSON: "1",
    DENO_NO_UPDATE_CHECK: "1",
    OPENBOX_CACHE: small.cache,
    ...(Deno.build.os === "linux" ? { OPENBOX_IGNORED_SIGNALS: "0" } : {}),
    OPENBOX_PROGRAM: small.path,
  });
});

Deno.test("Deno is started with the permissions of the mode, and nothing that lies about is read", async () => {
  await using small = await makeSmallExecutable();
  // above the cache and in the working directory: a configuration that would change everything
  for (const directory of [small.scratch, small.path.replace(/\/bin\/openbox$/, "")]) {
    for (const name of ["deno.json", "package.json"]) {
      await Deno.writeTextFile(`${directory}/${name}`, "{ this is no JSON");
    }
  }
  const flags = async (...args: string[]) =>
    (await small.start(args, { env: { OPENBOX_HOME: "/srv/box" }, cwd: small.scratch })).told()
      .flags;
  const run = await flags("-t", "x", "control");
  const code = unpacked(small);
  assert.ok(
    run.includes(`--allow-read=/srv/box,${code}`) && run.includes("--allow-write=/srv/box"),
  );
  assert.ok(run.includes(`--allow-run=/bin/sh,${small.path}`));
  const control = await flags("control", "--db", "/data/box.db");
  assert.ok(control.includes(`--allow-read=/srv/box,${code},/data`));
  assert.ok(!control.some((flag) => /^--allow-(all|run|ffi)/.test(flag)));
  assert.ok((await flags("agent")).includes("--allow-all"));
  assert.ok(!run.includes("--no-code-cache"));
  const path = `${small.scratch}/openboxd.sock`;
  using _daemon = Deno.listen({ transport: "unix", path });
  const env = { OPENBOX_HOME: small.scratch };
  const hot = (await small.start(["-t", "x"], { env, cwd: small.scratch })).told().flags;
  assert.ok(hot.includes("--no-code-cache"), "a daemon is there");
});

/** A file system of its own. */
async function mountedDirectory(options: string) {
  const path = await Deno.makeTempDir();
  const run = async (...[program, ...args]: string[]) => {
    const { success, stderr } = await new Deno.Command(program!, { args }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
  };
  await run("mount", "-t", "tmpfs", "-o", options, "openbox-test", path);
  return {
    path,
    remount: (changed: string) => run("mount", "-o", `remount,${changed}`, path),
    async [Symbol.asyncDispose]() {
      await run("umount", "--lazy", path);
      await Deno.remove(path);
    },
  };
}
