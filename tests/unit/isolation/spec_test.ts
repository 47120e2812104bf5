import assert from "node:assert/strict";
import { OpenboxError } from "../../../src/errors.ts";
import { formatIsolation, parseIsolation } from "../../../src/isolation/spec.ts";

Deno.test("the three forms of an isolation are read, and written back the same", () => {
  const cases = [
    ["native", { kind: "native" }],
    ["docker:debian", { kind: "docker", image: "debian" }],
    ["docker:ghcr.io:5000/a/b_c:v1.2", { kind: "docker", image: "ghcr.io:5000/a/b_c:v1.2" }],
    [`docker:a@sha256:${"0".repeat(64)}`, { kind: "docker", image: `a@sha256:${"0".repeat(64)}` }],
    [`docker:${"a".repeat(64)}`, { kind: "docker", image: "a".repeat(64) }],
    ["nspawn:/srv/tree", { kind: "nspawn", root: "/srv/tree" }],
    ["nspawn:/srv/a b", { kind: "nspawn", root: "/srv/a b" }],
  ] as const;
  for (const [text, spec] of cases) {
    assert.deepEqual(parseIsolation(text), spec);
    assert.equal(formatIsolation(parseIsolation(text)), text);
  }
  assert.deepEqual(parseIsolation("nspawn:/srv//tree/"), { kind: "nspawn", root: "/srv/tree" });
});

Deno.test("ISO-3: whatever is not exactly one of them is refused, with the reason", () => {
  const bad = [
    ...[
      "",
      " native",
      "native ",
      "native\n",
      "native\0",
      "Native",
      "native:",
      "native:x",
      "podman:x",
    ],
    ...[
      "native docker:x",
      "native,docker:x",
      "docker",
      "docker:",
      "docker: a",
      "docker:a b",
      "DOCKER:x",
    ],
    ...[
      "docker:-v/:/host",
      "docker:--privileged",
      "docker:a;b",
      "docker:$(id)",
      "docker:A",
      "docker:a\tb",
    ],
    ...[
      "docker:a:b:c",
      `docker:a@sha256:${"0".repeat(63)}`,
      `docker:${"a".repeat(300)}`,
      "docker:a/../b",
    ],
    ...[
      "nspawn",
      "nspawn:",
      "nspawn:rel",
      "nspawn:/",
      "nspawn://",
      "nspawn:/a/../b",
      "nspawn:/./a",
    ],
    ...[
      "nspawn:/a\u2028b",
      "nspawn:/a\u202eb",
      `nspawn:/${"x".repeat(10_240)}`,
      "x".repeat(10_240),
    ],
  ];
  for (const text of bad) {
    assert.throws(
      () => parseIsolation(text),
      (error: OpenboxError) =>
        error.code === "isolation_invalid" && error.hint !== undefined &&
        error.message.length < 300,
      JSON.stringify(text.slice(0, 60)),
    );
  }
});
