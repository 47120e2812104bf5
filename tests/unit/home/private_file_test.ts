import assert from "node:assert/strict";
import { OpenboxError } from "../../../src/errors.ts";
import { requireComponent } from "../../fixtures/component.ts";
import {
  createPrivateFile,
  readPrivateFile,
  writePrivateFile,
} from "../../../src/home/private_file.ts";

async function directory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir();
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

const limits = { maxBytes: 1024 };

async function refusal(promise: Promise<unknown>): Promise<OpenboxError> {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof OpenboxError, `${error}`);
    return error;
  }
  throw new assert.AssertionError({ message: "nothing was refused" });
}

Deno.test("a private file is written 0600 in a 0700 directory and read back", async () => {
  await using dir = await directory();
  const path = `${dir.path}/new/deep/secret.json`;
  assert.equal(await readPrivateFile(path, limits), undefined);
  await writePrivateFile(path, "one");
  await writePrivateFile(path, "twö");
  assert.equal(await readPrivateFile(path, limits), "twö");
  assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  assert.equal((await Deno.stat(`${dir.path}/new`)).mode! & 0o777, 0o700);
  const names = await Array.fromAsync(Deno.readDir(`${dir.path}/new/deep`), (entry) => entry.name);
  assert.deepEqual(names, ["secret.json"]);
});

Deno.test("CFG-1: a file open to others is refused with the chmod that mends it", async () => {
  await using dir = await directory();
  const path = `${dir.path}/a b.json`;
  await writePrivateFile(path, "x");
  for (const mode of [0o640, 0o604, 0o644, 0o620]) {
    await Deno.chmod(path, mode);
    const error = await refusal(readPrivateFile(path, limits));
    assert.equal(error.code, "unsafe_file");
    assert.equal(error.hint, `chmod 600 '${path}'`);
  }
});

Deno.test("CFG-1: a file in a directory open to others is refused, for reading and for writing", async () => {
  await using dir = await directory();
  const path = `${dir.path}/secret`;
  await writePrivateFile(path, "x");
  await Deno.chmod(dir.path, 0o777);
  for (const act of [() => readPrivateFile(path, limits), () => writePrivateFile(path, "y")]) {
    const error = await refusal(act());
    assert.equal(error.code, "unsafe_file");
    assert.equal(error.hint, `chmod 700 ${dir.path}`);
  }
  await Deno.chmod(dir.path, 0o700);
  assert.equal(await readPrivateFile(path, limits), "x");
});

Deno.test({
  name: "CFG-1: a file of another owner is refused with the chown that mends it",
  ...requireComponent("linux-root"), // nobody else can give a file away
  async fn() {
    await using dir = await directory();
    const path = `${dir.path}/secret`;
    await writePrivateFile(path, "x");
    await Deno.chown(path, 12345, null);
    const error = await refusal(readPrivateFile(path, limits));
    assert.equal(error.code, "unsafe_file");
    assert.equal(error.hint, `chown 0 ${path}`);
  },
});

Deno.test("CFG-4: a file that is too long, no text or no file is refused by name", async () => {
  await using dir = await directory();
  const path = `${dir.path}/f`;
  await writePrivateFile(path, "x".repeat(1025));
  assert.equal((await refusal(readPrivateFile(path, limits))).code, "bad_file");
  await Deno.writeFile(path, new Uint8Array([0xff, 0xfe, 0]));
  assert.match((await refusal(readPrivateFile(path, limits))).message, /f: it is not text$/);
  await Deno.mkdir(`${dir.path}/d`, { mode: 0o700 });
  assert.match((await refusal(readPrivateFile(`${dir.path}/d`, limits))).message, /not a file$/);
});

Deno.test("of 20 that create one file at once one wins, and its text stands", async () => {
  await using dir = await directory();
  const path = `${dir.path}/ca_key`;
  const made = await Promise.all(
    Array.from({ length: 20 }, (_, i) => createPrivateFile(path, `text ${i}`)),
  );
  assert.equal(made.filter(Boolean).length, 1);
  assert.equal(await readPrivateFile(path, limits), `text ${made.indexOf(true)}`);
});

const WRITER = new URL("./write_for_ever.ts", import.meta.url).pathname;

Deno.test("CFG-2: kill -9 during a save leaves the old or the new text whole", async () => {
  await using dir = await directory();
  const path = `${dir.path}/config.json`;
  const length = 300_000;
  await writePrivateFile(path, "0".repeat(length));
  const kill = async (round: number) => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-prompt", "--no-config", WRITER, path, `${length}`],
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read(); // it writes by now
    await new Promise((resolve) => setTimeout(resolve, round));
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    const text = await readPrivateFile(path, { maxBytes: length });
    assert.match(text ?? "", new RegExp(`^(\\d)\\1{${length - 1}}$`));
  };
  for (let round = 0; round < 200; round++) await kill(round % 40);
});

Deno.test({
  name: "CFG-2: a full disk leaves the old text whole and no litter",
  ...requireComponent("unshare", "linux-root"), // a file system of its own
  async fn() {
    await using dir = await directory();
    const script = `
      mount -t tmpfs -o size=16k,mode=700 none "$1" || exit 77
      printf old > "$1/config.json" && chmod 600 "$1/config.json"
      timeout 20 "$2" run -A --no-prompt --no-config "$3" "$1/config.json" 100000
      ls "$1"; cat "$1/config.json"`;
    const { code, stdout } = await new Deno.Command("unshare", {
      args: ["-m", "sh", "-c", script, "sh", dir.path, Deno.execPath(), WRITER],
      stderr: "null",
    }).output();
    if (code === 77) return; // the machine (a container) lets nobody mount
    assert.equal(new TextDecoder().decode(stdout), "failed\nconfig.json\nold");
  },
});
