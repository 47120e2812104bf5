import assert from "node:assert/strict";
import { generateKey } from "../../../src/ssh/key.ts";
import { openMirror } from "../../fixtures/release.ts";
import { makeHome } from "./call.ts";

Deno.test("openbox upgrade from the sources says how they are renewed, and asks nobody", async () => {
  await using home = await makeHome();
  await using mirror = openMirror();
  const { code, err } = await home.call(["upgrade"], { env: { OPENBOX_BASE_URL: mirror.url } });
  assert.equal(code, 2);
  assert.match(err, /^openbox: not_supported: This openbox runs from its sources[^]*git pull/);
  assert.deepEqual(mirror.asked, []);
});

Deno.test("INS-2: openbox upgrade --check believes no release without a key for it", async () => {
  await using home = await makeHome();
  await using mirror = openMirror();
  mirror.publish({ version: "9.9.9", key: generateKey() });
  const { code, err } = await home.call(["upgrade", "--check"], {
    env: { OPENBOX_BASE_URL: mirror.url },
  });
  assert.equal(code, 3);
  assert.match(err, /^openbox: signature_invalid: /);
});

Deno.test("INS-11: what openbox upgrade is told to fetch is a version of a repository, or it is refused", async () => {
  await using home = await makeHome();
  const refuses = async (args: readonly string[], env: Record<string, string>, why: RegExp) => {
    const { code, err } = await home.call(["upgrade", "--check", ...args], { env });
    assert.equal(code, 2, err);
    assert.match(err, why);
  };
  const OPENBOX_REPO = "owner/openbox";
  for (const version of ["../../x", "1.2", "1.2.3/..", "latest"]) {
    await refuses(["--version", version], { OPENBOX_REPO }, /is no version such as/);
  }
  for (const repo of ["owner", "../x", "a/b/c", "a/b?x", "a/..", "a b/c"]) {
    await refuses([], { OPENBOX_REPO: repo }, /is no OWNER\/NAME/);
  }
  for (
    const url of ["file:///etc", "http://x/?a", "https://user@x/", "http://x/$(id)", "http://[x"]
  ) {
    await refuses([], { OPENBOX_BASE_URL: url }, /is no address of a mirror/);
  }
  await refuses([], {}, /Nothing says where releases[^]*OPENBOX_REPO=OWNER\/NAME/);
});
