import assert from "node:assert/strict";
import { OpenboxError } from "../../../src/errors.ts";
import { homePaths } from "../../../src/home/paths.ts";

const host = (env: Record<string, string>) => ({
  env: (name: string) => env[name],
  cwd: () => "/there",
});

Deno.test("files lie under OPENBOX_HOME, else under ~/.openbox", () => {
  assert.equal(
    homePaths(host({ OPENBOX_HOME: "/x/", HOME: "/root" })).config,
    "/x/config.json",
  );
  assert.equal(homePaths(host({ OPENBOX_HOME: "rel" })).agentState, "/there/rel/agent/agent.json");
  assert.equal(
    homePaths(host({ HOME: "/home/ann" })).database,
    "/home/ann/.openbox/control/openbox.db",
  );
});

Deno.test("CFG-9: without HOME only the use of a path fails, and the error names the way out", () => {
  const paths = homePaths(host({}));
  assert.throws(() => paths.home, (error) => {
    assert(error instanceof OpenboxError);
    assert.equal(error.code, "bad_setting");
    assert.match(error.hint ?? "", /OPENBOX_HOME/);
    return true;
  });
});
