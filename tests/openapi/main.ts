// deno-lint-ignore-file no-console -- a script's output
/**
 * `deno task openapi-check`: a control plane with nodes and sessions, and schemathesis let loose on it by
 * two callers, a user and a node. Arguments: schemathesis, and for how many seconds.
 */
import assert from "node:assert/strict";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import { ROUTES } from "../../src/control/routes/table.ts";
import { startWorld } from "../unit/control/world.ts";

const [schemathesis = "schemathesis", seconds = "300"] = Deno.args;

/** A 503 is declared where the database or a node may be away, so whether one is right is told by the other checks. */
const CONFIG = (nodeId: string) => `
[parameters]
"body.node_id" = ${JSON.stringify(nodeId)}
[checks]
# that a token or a key is good is nothing that its form tells
positive_data_acceptance.enabled = false
[checks.negative_data_rejection]
# what is wrong may be too long as well
expected-statuses = [400, 401, 403, 404, 405, 409, 410, 413, 426, 429]
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]
[[operations]]
include-path = "/v1/nodes/{id}"
parameters = { "path.id" = ${JSON.stringify(nodeId)} }
`;

await using world = await startWorld({
  refusalsPerMinute: 1e9,
  env: { OPENBOX_DISPATCH_LIMIT: "100000000" },
});
const node = await world.enroll({ name: "mini", tags: ["ci"] });
await world.enroll({ name: "away", tags: ["away"], online: false });
const bound = await world.call("POST", "/v1/dispatch", {
  token: world.token,
  body: { node_id: node.id, session_id: "work", client_pubkey: authorizedLine(generateKey()) },
});
assert.equal(bound.status, 200, bound.text);

/** The flags that leave out, or take only, the calls that a node makes. */
const nodeCalls = (flag: string): string[] =>
  ROUTES.filter(({ auth }) => auth === "node").flatMap(({ path }) => [flag, path]);

/** The node goes first, since the user removes it; it has few calls, so its share of the time is small. */
const shares = [
  {
    token: node.token,
    // without a token it is an agent of the Go program, and is told to upgrade
    args: [
      ...nodeCalls("--include-path"),
      "--exclude-checks",
      "missing_required_header,ignored_auth",
    ],
    part: 0.15,
  },
  { token: world.token, args: nodeCalls("--exclude-path"), part: 0.85 },
];
let failed = false;
for (const { token, args, part } of shares) {
  await Deno.writeTextFile("schemathesis.toml", CONFIG(node.id));
  const child = new Deno.Command(schemathesis, {
    args: [
      ...["--config-file", "schemathesis.toml", "run", `${world.url}/openapi.json`],
      ...["--max-time", String(Math.max(1, Math.round(Number(seconds) * part)))],
      ...["--header", `Authorization: Bearer ${token}`, "--continue-on-failure"],
      ...args,
    ],
    stdin: "null",
  }).spawn();
  failed = !(await child.status).success || failed;
}
const health = await world.call("GET", "/health");
assert.equal(health.status, 200, "it is well afterwards");
if (failed) Deno.exitCode = 1;
else console.log("openapi-check: no undeclared answer");
