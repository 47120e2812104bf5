import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { concat, text, utf8 } from "../../../src/bytes.ts";
import { unpackExecutable } from "../../../src/release/unpack.ts";
import { packExecutable } from "../../../scripts/release/tarball.ts";
import { tar } from "../../../scripts/tar.ts";

const unpack = async (tarball: Uint8Array<ArrayBuffer>) =>
  concat(await Array.fromAsync(unpackExecutable(tarball)));
const tarOf = (bytes: Uint8Array, name = "openbox") => tar([{ name, bytes, mode: 0o755 }]);
const gzip = (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes));

Deno.test("what is packed is unpacked, whatever its length", async () => {
  for (const length of [1, 511, 512, 513, 1_000_000]) {
    const bytes = new Uint8Array(length).map((_, i) => i * 7);
    assert.deepEqual(await unpack(packExecutable(bytes)), bytes);
  }
});

Deno.test("tar reads our tarball, and we read tar's", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const run = async (...args: string[]) => {
      const { success, stdout } = await new Deno.Command("tar", { args, cwd: folder }).output();
      assert.ok(success);
      return text(stdout);
    };
    await Deno.writeFile(`${folder}/ours.tar.gz`, packExecutable(utf8("hello")));
    assert.match(
      await run("-tvzf", "ours.tar.gz"),
      /^-rwxr-xr-x \S+ +5 2000-01-01 .* openbox\n$/,
    );
    await run("-xzf", "ours.tar.gz");
    assert.equal(await Deno.readTextFile(`${folder}/openbox`), "hello");
    await run("--format=ustar", "-czf", "theirs.tar.gz", "openbox");
    assert.equal(text(await unpack(await Deno.readFile(`${folder}/theirs.tar.gz`))), "hello");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the same executable makes the same tarball", () => {
  assert.deepEqual(packExecutable(utf8("x")), packExecutable(utf8("x")));
});

Deno.test("a tarball with another file, none, more or less in it is refused", async () => {
  const good = tarOf(utf8("hello"));
  const bent = (at: number, byte: number) => {
    const copy = good.slice();
    copy[at] = byte;
    return copy;
  };
  for (
    const [tar, why] of [
      [tarOf(utf8("x"), "other"), /does not begin with the file openbox/],
      [tarOf(new Uint8Array()), /has no size that fits/],
      [bent(156, 0x32), /first header is broken/],
      [bent(124, 0x37), /first header is broken/],
      [good.subarray(0, 600), /ends too early/],
      [good.subarray(0, 100), /ends too early/],
      [new Uint8Array(1024), /first header is broken/],
      [concat([good.subarray(0, 1024), good]), /there is more in it/],
    ] as const
  ) {
    await assert.rejects(unpack(gzip(tar)), { code: "bad_file", message: why });
  }
  const whole = packExecutable(utf8("hello"));
  for (const cut of [0, 5, 20, whole.length - 12]) {
    await assert.rejects(unpack(whole.slice(0, cut)), { code: "bad_file" });
  }
});
