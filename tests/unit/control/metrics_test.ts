import assert from "node:assert/strict";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import { newUserToken } from "../../../src/ids.ts";
import { createMetrics } from "../../../src/control/metrics.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import { systemClock } from "../../../src/clock.ts";
import { assertRefused, startWorld, type World } from "./world.ts";

Deno.test("counts, gauges and histograms in the text format", async () => {
  const metrics = createMetrics();
  const calls = metrics.counter("calls_total", "Calls.", ["route", "status"]);
  const plain = metrics.counter("plain_total", "Plain.");
  const seconds = metrics.histogram("call_seconds", "How long.", {
    labels: ["route"],
    buckets: [0.1, 1],
  });
  metrics.gauge(
    "nodes",
    "Nodes.",
    () => Promise.resolve([{ labels: { state: 'a"b\\c\nd' }, value: 3 }]),
  );
  metrics.gauge("broken", "Broken.", () => Promise.reject(new Error("the database is away")));
  metrics.gauge("none", "None.", () => undefined);
  calls("/a", "200");
  calls("/a", "200");
  calls("/b", "404");
  plain();
  for (const value of [0.05, 0.1, 0.5, 7]) seconds(value, "/a");
  assert.equal(
    await metrics.text(),
    `# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{route="/a",status="200"} 2
calls_total{route="/b",status="404"} 1
# HELP plain_total Plain.
# TYPE plain_total counter
plain_total 1
# HELP call_seconds How long.
# TYPE call_seconds histogram
call_seconds_bucket{route="/a",le="0.1"} 2
call_seconds_bucket{route="/a",le="1"} 3
call_seconds_bucket{route="/a",le="+Inf"} 4
call_seconds_sum{route="/a"} 7.65
call_seconds_count{route="/a"} 4
# HELP nodes Nodes.
# TYPE nodes gauge
nodes{state="a\\"b\\\\c\\nd"} 3
# HELP none None.
# TYPE none gauge
`,
  );
});

const scrape = async (world: World): Promise<Map<string, number>> => {
  const reply = await world.call("GET", "/metrics", { token: world.token });
  assert.equal(reply.status, 200, reply.text);
  assert.match(reply.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  for (const line of reply.text.trimEnd().split("\n")) {
    assert.match(
      line,
      /^# (?:HELP|TYPE) |^[a-z_]+(?:\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? [\d.e+-]+$/,
    );
  }
  return new Map(
    reply.text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]),
  );
};

Deno.test("a control plane counts what it does", async () => {
  await using world = await startWorld();
  const node = await world.enroll({ name: "mini" });
  await world.enroll({ name: "away", online: false });
  await world.store.flush();
  const dispatch = { node_id: node.id, client_pubkey: authorizedLine(generateKey()) };
  for (let i = 0; i < 3; i++) {
    await world.call("POST", "/v1/dispatch", { token: world.token, body: dispatch });
  }
  await world.call("POST", "/v1/dispatch", { token: world.token, body: { tag: "nothing" } });
  await world.call("GET", "/v1/whoami", { token: newUserToken() });
  for (const path of ["/x", "/y", `/${"z".repeat(500)}`]) await world.call("GET", path);
  const numbers = await scrape(world);
  const expected: Record<string, number> = {
    'openbox_requests_total{method="POST",route="/v1/dispatch",status="200"}': 3,
    'openbox_requests_total{method="POST",route="/v1/dispatch",status="400"}': 1,
    'openbox_requests_total{method="GET",route="none",status="404"}': 3,
    openbox_dispatches_total: 3,
    openbox_heartbeats_total: 1,
    'openbox_refusals_total{code="unauthorized"}': 1,
    'openbox_refusals_total{code="not_found"}': 3,
    'openbox_certificates_issued_total{kind="user"}': 3,
    'openbox_certificates_issued_total{kind="host"}': 2,
    'openbox_nodes{state="online"}': 1,
    'openbox_nodes{state="offline"}': 1,
    'openbox_request_seconds_count{route="/v1/dispatch"}': 4,
    'openbox_request_seconds_bucket{route="/v1/dispatch",le="+Inf"}': 4,
  };
  for (const [name, value] of Object.entries(expected)) {
    assert.equal(numbers.get(name), value, name);
  }
  assert.ok(numbers.get('openbox_database_seconds_count{call="userByToken"}')! >= 5);
  assert.ok(numbers.get("openbox_audit_records")! > 3);
  assert.ok(numbers.get("process_resident_memory_bytes")! > 1e6);
  assert.ok(numbers.has("openbox_event_loop_lag_seconds"));
});

Deno.test("what a caller sends makes no new number", async () => {
  await using world = await startWorld();
  await scrape(world);
  await scrape(world);
  const before = [...(await scrape(world)).keys()];
  for (let i = 0; i < 50; i++) {
    await world.call("GET", `/v1/nodes/node_${i}?tag=${i}`, { token: world.token });
  }
  const added = [...(await scrape(world)).keys()].filter((name) => !before.includes(name));
  for (const name of added) assert.doesNotMatch(name, /node_\d/);
  // one route, one status, one code, one query and what a histogram has of each
  assert.ok(added.length < 40, added.join("\n"));
});

Deno.test("calls that the database did not do are counted", async () => {
  const store = await openSqliteStore(IN_MEMORY, { clock: systemClock });
  await using world = await startWorld({ store });
  const nodes = store.nodes;
  Object.assign(store, {
    nodes: () => Promise.reject(new OpenboxError("database_unavailable", "away")),
  });
  assertRefused(
    await world.call("GET", "/v1/nodes", { token: world.token }),
    503,
    "database_unavailable",
  );
  Object.assign(store, { nodes });
  const numbers = await scrape(world);
  assert.equal(numbers.get('openbox_database_failures_total{call="nodes"}'), 1);
});

Deno.test("TOK-7: the numbers of all accounts are for the installation's own", async () => {
  await using world = await startWorld();
  const other = await world.newAccount("other");
  assertRefused(await world.call("GET", "/metrics", { token: other.token }), 403, "scope");
  assertRefused(await world.call("GET", "/metrics"), 401, "unauthorized");
});
