import assert from "node:assert/strict";
import {
  formatSize,
  isGpus,
  parseMount,
  parseSize,
  requireHeld,
  writtenLimits,
} from "../../../src/isolation/confinement.ts";

Deno.test("sizes are read as docker reads them, and written in their largest whole unit", () => {
  const cases: [string, number][] = [
    ["512", 512],
    ["512b", 512],
    ["4k", 4096],
    ["512m", 512 * 2 ** 20],
    ["1.5g", 1.5 * 2 ** 30],
    ["2GiB", 2 * 2 ** 30],
    ["2GB", 2 * 2 ** 30],
    ["1t", 2 ** 40],
  ];
  for (const [text, bytes] of cases) assert.equal(parseSize(text), bytes, text);
  for (const text of ["", "0", "-1", "1e9", "0x10", "m", "1 g", "1p", "0.1b", "9".repeat(16)]) {
    assert.equal(parseSize(text), undefined, text);
  }
  assert.deepEqual([2 ** 30, 1536 * 2 ** 20, 513].map(formatSize), ["1g", "1536m", "513"]);
});

Deno.test("ISO-8: a mount is SRC[:DST[:ro]], both absolute", () => {
  const cases: [string, [string, string, boolean]][] = [
    ["/a", ["/a", "/a", false]],
    ["/a:ro", ["/a", "/a", true]],
    ["/a/:/b//c", ["/a", "/b/c", false]],
    ["/a b:/c:ro", ["/a b", "/c", true]],
  ];
  for (const [text, expected] of cases) {
    const { source, target, readOnly } = parseMount(text);
    assert.deepEqual([source, target, readOnly], expected, text);
  }
  const bad = [
    "",
    ":",
    ":/b",
    "/a:",
    "a:/b",
    "/a:b",
    "/",
    "/a:/",
    "/a/..",
    "/a/./b",
    "/a:/b:rw",
    "/a:/b:ro:ro",
    "/a:/b:/c",
    "~/a",
    "ro",
    "/a\n:/b",
    "/a\0",
    "/" + "x".repeat(4096),
  ];
  for (const text of bad) {
    assert.throws(() => parseMount(text), { code: "mount_invalid" }, JSON.stringify(text));
  }
});

Deno.test("GPUs are all, a count or devices by id", () => {
  for (const text of ["all", "1", "16", "device=0", "device=GPU-1a2b,3"]) assert.ok(isGpus(text));
  for (const text of ["", "0", "-1", "any", "device=", "device=a b", "all,capabilities=x"]) {
    assert.ok(!isGpus(text), text);
  }
});

Deno.test("ISO-7: what an isolation cannot hold is refused, and says which one can", () => {
  requireHeld("docker", ["memory", "gpus", "net", "mount", "shm-size"]);
  requireHeld("native", ["memory", "cpus", "pids"]);
  requireHeld("nspawn", ["volatile", "mount"]);
  assert.throws(() => requireHeld("native", ["mount"]), {
    code: "limit_unsupported",
    hint: "it can be in docker and nspawn",
  });
  assert.throws(() => requireHeld("docker", ["volatile"]), { code: "limit_unsupported" });
});

Deno.test("what is asked for is written as its flags", () => {
  const written = writtenLimits({
    memoryBytes: 2 ** 30,
    cpus: 0.5,
    mounts: [{ source: "/a", target: "/b", readOnly: true }],
    volatile: true,
    net: undefined,
  });
  assert.deepEqual([...written], [
    ["memory", "1g"],
    ["cpus", "0.5"],
    ["mount", "/a:/b:ro"],
    ["volatile", ""],
  ]);
  assert.equal(writtenLimits({ mounts: [], volatile: false }).size, 0);
});
