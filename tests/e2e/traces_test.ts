import assert from "node:assert/strict";
import { newUserToken } from "../../src/ids.ts";
import { eventually } from "../fixtures/processes.ts";
import { bootstrapToken, startControl, temporaryHome } from "./control_process.ts";

interface Span {
  readonly name: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly attributes: readonly { readonly key: string; readonly value: unknown }[];
}

/** Takes what Deno sends to an OpenTelemetry collector. */
function startCollector() {
  const spans: Span[] = [];
  const sent: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const text = await request.text();
    sent.push(text);
    if (new URL(request.url).pathname === "/v1/traces") {
      // deno-lint-ignore no-explicit-any -- the collector's form, of which little is looked at
      for (const resource of JSON.parse(text).resourceSpans as any[]) {
        for (const scope of resource.scopeSpans) spans.push(...scope.spans);
      }
    }
    return Response.json({});
  });
  return { spans, sent, server, url: `http://127.0.0.1:${server.addr.port}` };
}

Deno.test("a request is a span with its route's name, its database calls are inside, and no token is in it", async () => {
  await using home = await temporaryHome();
  const collector = startCollector();
  await using _ = collector.server;
  const stray = newUserToken();
  {
    await using control = await startControl({
      home: home.path,
      env: {
        OTEL_DENO: "true",
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_BSP_SCHEDULE_DELAY: "100",
        OTEL_SERVICE_NAME: "openbox",
      },
    });
    const token = await bootstrapToken(home.path);
    const headers = { authorization: `Bearer ${token}` };
    for (const path of [`/v1/nodes?tag=${stray}`, `/v1/nodes/${stray}`, `/nothing/${stray}`]) {
      const response = await fetch(control.url + path, { headers });
      await response.body?.cancel();
    }
    await eventually(
      "the spans arrive",
      () => collector.spans.some(({ name }) => name === "store.node"),
      10_000,
    );
    await eventually(
      "the last one too",
      () => collector.spans.filter(({ name }) => name.startsWith("GET")).length >= 3,
      10_000,
    );
    const all = collector.sent.join("");
    assert.ok(!all.includes(stray) && !all.includes(token));
    control.kill("SIGTERM");
    assert.equal((await control.ended).code, 0);
  }
  const { spans } = collector;
  const list = spans.find(({ name }) => name === "GET /v1/nodes");
  assert.ok(list, spans.map(({ name }) => name).join());
  const attribute = (span: Span, key: string) =>
    JSON.stringify(span.attributes.find((one) => one.key === key)?.value);
  assert.match(attribute(list, "http.route")!, /"\/v1\/nodes"/);
  assert.match(attribute(list, "http.response.status_code")!, /200/);
  const inside = spans.filter(({ parentSpanId }) => parentSpanId === list.spanId);
  assert.deepEqual(inside.map(({ name }) => name).sort(), ["store.nodes", "store.userByToken"]);
  assert.ok(spans.some(({ name }) => name === "GET /v1/nodes/:id"));
});
