/** scripts/build as a whole, and what it is told about the runtimes. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readRuntime, TARGETS } from "../../../scripts/runtime.ts";
import runtimes from "../../../scripts/runtimes.json" with { type: "json" };
import { tar } from "../../../scripts/tar.ts";

const ROOT = decodeURIComponent(new URL("../../..", import.meta.url).pathname).replace(/\/$/, "");
const VERSION = Deno.readTextFileSync(`${ROOT}/.deno-version`).trim();

async function run(command: string[], env: Record<string, string> = {}, cwd?: string) {
  const [program, ...args] = command;
  const { code, stdout, stderr } = await new Deno.Command(program!, { args, env, cwd }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, out: out!, err: err! };
}

/** A commit of this checkout as it is, in a repository of its own. */
async function commitSources(path: string): Promise<string> {
  await Deno.mkdir(path, { recursive: true });
  const git = async (...args: string[]) => {
    const identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    const env = {
      GIT_AUTHOR_DATE: "2026-01-01T00:00:00Z",
      GIT_COMMITTER_DATE: "2026-01-01T00:00:00Z",
    };
    const { code, out, err } = await run(["git", "-C", path, ...identity, ...args], env);
    assert.equal(code, 0, err);
    return out.trim();
  };
  const files = [
    ".deno-version",
    ".gitignore",
    "main.ts",
    "deno.json",
    "deno.lock",
    "src",
    "scripts",
  ];
  const copied = await run(["cp", "-R", ...files.map((name) => `${ROOT}/${name}`), path]);
  assert.equal(copied.code, 0, copied.err);
  await git("init", "--quiet");
  await git("add", ".");
  await git("commit", "--quiet", "--message", "as it is");
  return await git("rev-parse", "HEAD");
}

Deno.test("INS-8: one commit built twice, in two places, is the same file, and it says what it is", async () => {
  const directory = await Deno.makeTempDir({ prefix: "openbox-build-" });
  try {
    const hashes: string[] = [], commits: string[] = [];
    for (const place of [`${directory}/one`, `${directory}/deeper/the other`]) {
      commits.push(await commitSources(place));
      const built = await run([`${place}/scripts/build`], {
        PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:${Deno.env.get("PATH")}`,
      });
      assert.equal(built.code, 0, built.err);
      const [, megabytes] =
        /^dist\/openbox: \S+, ([\d.]+) MB\n +first start \d+ ms, then [\d.]+ ms .*bare Deno [\d.]+ ms\n$/
          .exec(built.out) ?? assert.fail(built.out);
      assert.ok(Number(megabytes) <= 45, `${megabytes} MB`);
      const bytes = await Deno.readFile(`${place}/dist/openbox`);
      hashes.push(createHash("sha256").update(bytes).digest("hex"));
    }
    assert.equal(commits[0], commits[1]);
    assert.equal(hashes[0], hashes[1]);
    const program = `${directory}/one/dist/openbox`;
    const told = await run([program, "version", "--json"], { OPENBOX_CACHE: `${directory}/cache` });
    assert.deepEqual(JSON.parse(told.out), {
      version: JSON.parse(await Deno.readTextFile(`${ROOT}/deno.json`)).version,
      commit: commits[0],
      deno: VERSION,
      build: "offline",
    });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a target that there is not is refused with those that there are", async () => {
  for (const args of [["--target", "plan9-x64"], ["--target"], ["--no-such"], ["--form", "x"]]) {
    const { code, err } = await run([`${ROOT}/scripts/build`, ...args]);
    assert.equal(code, 1);
    assert.match(
      err,
      /usage: scripts\/build \[--target linux-x64\|linux-arm64\|macos-x64\|macos-arm64\|all\]/,
    );
  }
});

Deno.test("the hashes are those of the pinned Deno, and the oldest system is what its binary says", async () => {
  assert.equal(runtimes.version, VERSION);
  assert.deepEqual(TARGETS, ["linux-x64", "linux-arm64", "macos-x64", "macos-arm64"]);
  if (Deno.build.os !== "linux") return; // the others' binaries are not here
  const binary = new TextDecoder("latin1").decode(await Deno.readFile(Deno.execPath()));
  const versions = [...binary.matchAll(/\0GLIBC_2\.(\d+)(?=\0)/g)].map(([, minor]) =>
    Number(minor)
  );
  assert.equal(`2.${Math.max(...versions)}`, runtimes.targets["linux-x64"].needs);
});

Deno.test("a runtime that is not what its hash says is not built in, and nothing is kept", async () => {
  const cache = await Deno.makeTempDir();
  await using server = Deno.serve({ port: 0, onListen() {} }, () => new Response("not a Deno"));
  const before = Deno.env.get("NPM_CONFIG_REGISTRY");
  Deno.env.set("NPM_CONFIG_REGISTRY", `http://127.0.0.1:${server.addr.port}`);
  try {
    await Deno.writeTextFile(`${cache}/deno-${VERSION}-macos-arm64`, "neither");
    await assert.rejects(
      readRuntime("macos-arm64", { version: VERSION, cache }),
      /darwin-arm64-.*\.tgz is not what scripts\/runtimes\.json has the hash of/,
    );
    await assert.rejects(
      readRuntime("linux-x64", { version: "1.0.0", cache }),
      /has the hashes of/,
    );
  } finally {
    if (before === undefined) Deno.env.delete("NPM_CONFIG_REGISTRY");
    else Deno.env.set("NPM_CONFIG_REGISTRY", before);
    await Deno.remove(cache, { recursive: true });
  }
});

Deno.test("an archive is one that tar reads, and takes no name that leads elsewhere", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const files = [
      { name: "empty", bytes: new Uint8Array(), mode: 0o600 },
      { name: "a-b_c.js", bytes: new Uint8Array(1025).fill(65), mode: 0o700 },
    ];
    await Deno.writeFile(`${directory}/x.tar`, tar(files));
    const { code, err } = await run(["tar", "-xf", "x.tar"], {}, directory);
    assert.deepEqual([code, err], [0, ""]);
    for (const { name, bytes, mode } of files) {
      assert.deepEqual(await Deno.readFile(`${directory}/${name}`), bytes);
      assert.equal((await Deno.stat(`${directory}/${name}`)).mode! & 0o777, mode);
    }
    for (const name of ["../x", "a/b", "", "x".repeat(100)]) {
      assert.throws(() => tar([{ name, bytes: new Uint8Array(), mode: 0o600 }]), /no name/);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
