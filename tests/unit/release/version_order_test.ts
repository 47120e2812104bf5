import assert from "node:assert/strict";
import { compareVersions, isVersion } from "../../../src/release/version_order.ts";

Deno.test("versions are ordered as semver.org orders them", () => {
  const ordered = [
    "0.0.9",
    "0.1.0",
    "0.9.10",
    "0.10.0",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "2.0.0",
    "10.0.0",
  ];
  ordered.forEach((a, i) =>
    ordered.forEach((b, j) =>
      assert.equal(Math.sign(compareVersions(a, b)), Math.sign(i - j), `${a} ${b}`)
    )
  );
});

Deno.test("what is no version is none, and is not compared", () => {
  const bad = ["", "1", "1.2", "v1.2.3", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3-a..b", "1.2.3+x"];
  for (const text of [...bad, "1.2.3\n", " 1.2.3", "1.2.x", `1.2.3-${"x".repeat(64)}`]) {
    assert.equal(isVersion(text), false, text);
    assert.throws(() => compareVersions(text, "1.2.3"), TypeError);
  }
});
