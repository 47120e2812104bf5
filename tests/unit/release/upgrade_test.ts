import assert from "node:assert/strict";
import { parseReleaseKeys } from "../../../src/release/keys.ts";
import { tarballName } from "../../../src/release/source.ts";
import { findRelease, installRelease } from "../../../src/release/upgrade.ts";
import { generateKey } from "../../../src/ssh/key.ts";
import { findProgram, requireComponent } from "../../fixtures/component.ts";
import {
  keyLine,
  makeRelease,
  type Mirror,
  openMirror,
  tinyExecutable,
} from "../../fixtures/release.ts";

const ONCE = new URL("upgrade_once.ts", import.meta.url).pathname;
const TARBALL = tarballName(Deno.build);
const LATEST = "/latest/download/openbox-release.txt";

interface World extends AsyncDisposable {
  readonly mirror: Mirror;
  readonly folder: string;
  readonly executable: string;
  upgrade(options?: { answerMs?: number; signal?: AbortSignal }): Promise<string>;
  /** Runs upgrade_once.ts under these words. */
  once(...words: string[]): Promise<{ code: number; stderr: string }>;
  /** What is there besides the executable. */
  beside(): string[];
  assertIs(version: string): Promise<void>;
}

/** 1.2.3 is installed, and 1.3.0 is the latest. */
async function openWorld(executable?: string): Promise<World> {
  const folder = await Deno.makeTempDir(), mirror = openMirror();
  const path = `${folder}/openbox`, keys = parseReleaseKeys(keyLine(mirror.key));
  await Deno.writeTextFile(path, tinyExecutable("1.2.3"), { mode: 0o755 });
  mirror.publish({ version: "1.3.0", executable });
  return {
    mirror,
    folder,
    executable: path,
    async upgrade({ answerMs = 10_000, signal } = {}) {
      const release = await findRelease({ base: mirror.url, keys, now: Date.now(), signal });
      const to = { base: mirror.url, executable: path, tarball: TARBALL, answerMs, signal };
      return await installRelease(release, to);
    },
    async once(...words) {
      const [command, ...args] = [
        ...words,
        ...[Deno.execPath(), "run", "-A", "--no-prompt", ONCE],
        ...[mirror.url, keyLine(mirror.key).trim(), path],
      ];
      const { code, stderr } = await new Deno.Command(command!, { args }).output();
      return { code, stderr: new TextDecoder().decode(stderr) };
    },
    beside: () =>
      [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name !== "openbox")
        .sort(),
    async assertIs(version) {
      assert.equal(await Deno.readTextFile(path), tinyExecutable(version));
    },
    async [Symbol.asyncDispose]() {
      await mirror[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

Deno.test("a newer release takes the place of the executable, and the old one is kept", async () => {
  await using world = await openWorld();
  const kept = await world.upgrade();
  await world.assertIs("1.3.0");
  assert.equal(kept, `${world.folder}/.openbox.old`);
  assert.equal(await Deno.readTextFile(kept), tinyExecutable("1.2.3"));
  assert.deepEqual(world.beside(), [".openbox.old"]);
  assert.equal((await Deno.stat(world.executable)).mode! & 0o7777, 0o755);
  world.mirror.publish({ version: "1.4.0" });
  await world.upgrade();
  assert.equal(await Deno.readTextFile(kept), tinyExecutable("1.3.0"));
});

Deno.test("INS-5: an executable that runs goes on as the old one", async () => {
  await using world = await openWorld();
  const running = new Deno.Command(world.executable, {
    args: ["agent"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = running.stdout.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await reader.read()).value, "started\n");
  await world.upgrade();
  await running.stdin.close();
  assert.equal((await reader.read()).value, "still 1.2.3\n");
  await reader.cancel();
  await running.status;
});

Deno.test("INS-1: a tarball that is missing, cut, longer or other replaces nothing", async () => {
  await using world = await openWorld();
  const path = `/download/v1.3.0/${TARBALL}`, good = world.mirror.files.get(path)!;
  const other = good.slice();
  other[30]! ^= 1;
  for (
    const [bytes, code] of [
      [undefined, "not_found"],
      [good.subarray(0, -1), "signature_invalid"],
      [new Uint8Array(good.length + 1), "unavailable"],
      [other, "signature_invalid"],
    ] as const
  ) {
    world.mirror.files.set(path, bytes);
    await assert.rejects(world.upgrade(), { code });
  }
  await world.assertIs("1.2.3");
  assert.deepEqual(world.beside(), []);
});

Deno.test("INS-2: without a signature by the release key nothing else is fetched", async () => {
  await using world = await openWorld();
  const { files, asked } = world.mirror;
  const stranger = makeRelease({ version: "1.3.0", key: generateKey() });
  for (
    const [bytes, code] of [
      [undefined, "not_found"],
      [new Uint8Array(), "signature_invalid"],
      [new Uint8Array(10_000), "unavailable"],
      [stranger.get("openbox-release.txt.sig"), "signature_invalid"],
    ] as const
  ) {
    files.set(`${LATEST}.sig`, bytes);
    await assert.rejects(world.upgrade(), { code });
  }
  assert.ok(asked.every((path) => path.startsWith(LATEST)));
  await world.assertIs("1.2.3");
});

Deno.test("INS-2: an old release does not pass for the one that was asked for", async () => {
  await using world = await openWorld();
  const old = makeRelease({ version: "1.2.0", key: world.mirror.key });
  for (const [name, bytes] of old) world.mirror.files.set(`/download/v1.4.0/${name}`, bytes);
  const keys = parseReleaseKeys(keyLine(world.mirror.key));
  const find = (version: string) =>
    findRelease({ base: world.mirror.url, keys, now: Date.now(), version });
  await assert.rejects(find("1.4.0"), {
    code: "signature_invalid",
    message: /got the release 1\.2\.0/,
  });
  assert.equal((await find("1.3.0")).version, "1.3.0");
});

Deno.test("INS-6: a new executable that does not work replaces nothing", async () => {
  for (
    const [executable, why] of [
      [
        "#!/bin/sh\necho 'no GLIBC_2.99' >&2\nexit 127\n",
        /ended with 127, and said: no GLIBC_2\.99/,
      ],
      ["#!/no/such/shell\n", /does not work here/],
      ["no program at all\n", /does not work here/],
      [tinyExecutable("9.9.9"), /says that it is 9\.9\.9/],
      ["#!/bin/sh\necho openbox\n", /says that it is something else/],
      ["#!/bin/sh\nyes\n", /no answer within 0\.5 s/],
      ["#!/bin/sh\nsleep 60 & sleep 60\n", /no answer within 0\.5 s/],
    ] as const
  ) {
    await using world = await openWorld(executable);
    await assert.rejects(world.upgrade({ answerMs: 500 }), { code: "unavailable", message: why });
    await world.assertIs("1.2.3");
    assert.deepEqual(world.beside(), []);
  }
});

Deno.test("INS-6: one that works until it is in its place is taken back", async () => {
  const spoiled = `#!/bin/sh\ncase $0 in */openbox) sleep 60 ;; esac\n${tinyExecutable("1.3.0")}`;
  await using world = await openWorld(spoiled);
  await assert.rejects(world.upgrade({ answerMs: 500 }), /no answer within 0\.5 s/);
  await world.assertIs("1.2.3");
  assert.deepEqual(world.beside(), []);
});

Deno.test("INS-6: a cancelled upgrade leaves the old one, and nothing beside it", async () => {
  await using world = await openWorld(`#!/bin/sh\ntouch "$(dirname "$0")/asked"\nsleep 60\n`);
  const cancel = new AbortController();
  const watcher = Deno.watchFs(world.folder);
  const upgraded = world.upgrade({ signal: cancel.signal });
  for await (const event of watcher) {
    if (event.paths.some((path) => path.endsWith("/asked"))) break;
  }
  cancel.abort(new Error("enough"));
  await assert.rejects(upgraded, /enough/);
  await world.assertIs("1.2.3");
  assert.deepEqual(world.beside(), ["asked"]);
});

Deno.test("two upgrades at once: one is told of the other", async () => {
  const waits = `cd "$(dirname "$0")" && [ -e passed ] || { read -r _ <gate; : >passed; }`;
  await using world = await openWorld(`#!/bin/sh\n${waits}\n${tinyExecutable("1.3.0")}`);
  await new Deno.Command("mkfifo", { args: [`${world.folder}/gate`] }).output();
  const first = world.upgrade();
  const gate = await Deno.open(`${world.folder}/gate`, { write: true }); // once the first one asks
  await assert.rejects(world.upgrade(), { code: "conflict" });
  gate.close();
  await first;
  assert.deepEqual(world.beside(), [".openbox.old", "gate", "passed"]);
});

/** The call that it is killed in, and, where it makes more than one, the name that this one is about. */
const STEPS = [
  ["openat", ""],
  ["chmod"],
  ["fsync"],
  ["linkat"],
  ["unlink", "/.openbox.old"],
  ["rename"],
  ["fsync", ""],
] as const;

Deno.test(
  "INS-6: killed at a step, the old or the new one is there, whole, and the next run tidies up",
  requireComponent("strace"),
  async () => {
    await using world = await openWorld();
    await world.upgrade(); // so that an old one is there already
    for (const [call, name] of STEPS) {
      await Deno.writeTextFile(`${world.folder}/fresh`, tinyExecutable("1.2.3"), { mode: 0o755 });
      await Deno.rename(`${world.folder}/fresh`, world.executable);
      const { code, stderr } = await world.once(
        ...[findProgram("strace")!, "-f", "-qq", "-o", "/dev/null"],
        ...["-e", `trace=${call}`, "-e", `inject=${call}:signal=SIGKILL:when=1`],
        ...(name === undefined ? [] : ["-P", world.folder + name]),
      );
      assert.equal(code, 137, `${call} ${name}: ${stderr}`);
      const left = await Deno.readTextFile(world.executable);
      const whole = [tinyExecutable("1.2.3"), tinyExecutable("1.3.0")];
      assert.ok(whole.includes(left), `${call} ${name}: ${left}`);
    }
    const { code, stderr } = await world.once();
    assert.equal(code, 0, stderr);
    await world.assertIs("1.3.0");
    assert.deepEqual(world.beside(), [".openbox.old"]);
  },
);

Deno.test(
  "INS-6: on a full disk the old one stays, and nothing beside it",
  requireComponent("linux-root", "unshare"),
  async () => {
    await using world = await openWorld(tinyExecutable("1.3.0") + `#${"x".repeat(500_000)}\n`);
    const inside = `mount -t tmpfs -o size=128k none "$0" && cp /dev/stdin "$0/openbox" &&
      chmod 755 "$0/openbox" && ! "$@" && ls -A "$0" >&2`;
    const { code, stderr } = await world.once(
      ...[findProgram("unshare")!, "--mount", "/bin/sh", "-c", inside, world.folder],
    );
    assert.equal(code, 0, stderr);
    assert.match(stderr, /Cannot write to .*: No space left on device[^]*\nopenbox\n$/);
  },
);

Deno.test(
  "INS-5: where the folder is not ours the way out is named",
  requireComponent("linux-root", "setpriv"),
  async () => {
    await using world = await openWorld();
    await Deno.chown(world.folder, 65534, 65534);
    // root without its capabilities is held by modes as everybody is
    const { code, stderr } = await world.once(findProgram("setpriv")!, "--bounding-set=-all");
    assert.equal(code, 1, stderr);
    assert.match(stderr, /Cannot replace .*\/openbox: Permission denied/);
    await world.assertIs("1.2.3");
  },
);
