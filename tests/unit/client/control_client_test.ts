import assert from "node:assert/strict";
import { ControlError, createControlClient } from "../../../src/client/control_client.ts";
import { parseServerUrl } from "../../../src/client/server_url.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";

/** An HTTP server that answers as the test says. */
function serve(answer: (request: Request) => Response | Promise<Response>) {
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, answer);
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const client = (url: string, more: { deadlineMs?: number } = {}) =>
  createControlClient({ server: parseServerUrl(url), token: new Secret("obx_t"), ...more });

async function failure(promise: Promise<unknown>): Promise<OpenboxError> {
  const error = await promise.then(() => undefined, (error) => error);
  assert(error instanceof OpenboxError, `${error}`);
  return error;
}

const node = {
  id: "node_1",
  name: "mac",
  addr: "10.0.0.4:7600",
  os: "darwin",
  arch: "arm64",
  tags: [],
  last_seen: 1,
  created_at: 1,
  online: true,
};

Deno.test("a call carries the token, its query and its body", async () => {
  const seen: string[] = [];
  await using server = serve(async (request) => {
    const { pathname, search } = new URL(request.url);
    seen.push(
      `${request.method} ${pathname}${search} ${
        request.headers.get("authorization")
      } ${await request
        .text()}`,
    );
    if (request.method === "DELETE") return new Response(null, { status: 204 });
    return Response.json(request.method === "GET" ? { nodes: [node] } : node);
  });
  await using control = client(server.url);
  assert.deepEqual(await control.nodes({ tag: "a&b" }), [node]);
  assert.deepEqual(await control.updateNode("node_1/..", { name: "x", tags: [] }), node);
  await control.deleteNode("node_1");
  assert.deepEqual(seen, [
    "GET /v1/nodes?tag=a%26b Bearer obx_t ",
    `PATCH /v1/nodes/node_1%2F.. Bearer obx_t {"name":"x","tags":[]}`,
    "DELETE /v1/nodes/node_1 Bearer obx_t ",
  ]);
});

Deno.test("a refusal keeps its code, hint and request id; an unknown code becomes that of its status", async () => {
  const body = { error: 'no node matches tag "x"', hint: "openbox nodes", request_id: "req_1" };
  await using server = serve((request) =>
    Response.json({ ...body, code: request.url.endsWith("1") ? "node_not_found" : "newer_word" }, {
      status: 404,
    })
  );
  await using control = client(server.url);
  const known = await failure(control.node("1"));
  assert(known instanceof ControlError);
  assert.deepEqual(
    [known.code, known.message, known.hint, known.requestId, known.status],
    ["node_not_found", body.error, body.hint, "req_1", 404],
  );
  assert.equal((await failure(control.node("2"))).code, "not_found");
});

Deno.test("a request id is shown where the control plane's log has it, and nowhere else", async () => {
  const cases: [string, number, string][] = [
    ["internal", 500, "m (request req_1)"],
    ["database_unavailable", 503, "m (request req_1)"],
    ["node_offline", 503, "m"],
    ["newer_word", 500, "m (request req_1)"],
    ["newer_word", 503, "m"],
  ];
  for (const [code, status, message] of cases) {
    await using server = serve(() =>
      Response.json({ error: "m", code, request_id: "req_1" }, { status })
    );
    await using control = client(server.url);
    assert.equal((await failure(control.whoami())).message, message, code);
  }
});

Deno.test("INS-7: an answer of a newer control plane is read for what is known of it", async () => {
  await using server = serve(() =>
    Response.json({ nodes: [{ ...node, temperature: 40 }], more: true })
  );
  await using control = client(server.url);
  assert.deepEqual(await control.nodes(), [node]);
});

Deno.test("what is no control plane's answer is told from a refusal", async () => {
  const answers: [Response, OpenboxError["code"], RegExp][] = [
    [new Response("<html>", { status: 200 }), "upgrade_required", /in a form/],
    [Response.json({ name: "me" }), "upgrade_required", /in a form/],
    [new Response("bad gateway", { status: 502 }), "control_unreachable", /answered 502/],
    [
      new Response(null, { status: 302, headers: { location: "https://evil.example/" } }),
      "control_unreachable",
      /redirects to https:\/\/evil/,
    ],
    [new Response("x".repeat(9 * 1024 * 1024)), "control_unreachable", /more than 8388608 bytes/],
  ];
  await using server = serve(() => answers[at]![0]);
  await using control = client(server.url);
  let at = 0;
  for (; at < answers.length; at++) {
    const error = await failure(control.whoami());
    assert.equal(error.code, answers[at]![1]);
    assert.match(error.message, answers[at]![2]);
  }
});

Deno.test("nobody listening, a silent listener and a caller that gives up each end the call", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = silent.addr as Deno.NetAddr;
  await using slow = client(`http://127.0.0.1:${port}`, { deadlineMs: 50 });
  assert.match((await failure(slow.whoami())).message, /: no answer within 0.05 s$/);

  const controller = new AbortController();
  await using patient = client(`http://127.0.0.1:${port}`);
  const call = patient.whoami({ signal: controller.signal });
  const reason = new Error("enough");
  controller.abort(reason);
  await assert.rejects(call, reason);

  const gone = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  gone.close();
  const url = `http://127.0.0.1:${(gone.addr as Deno.NetAddr).port}`;
  await using nobody = client(url);
  const error = await failure(nobody.whoami());
  assert.equal(error.code, "control_unreachable");
  assert.equal(error.message, `Cannot reach the control plane at ${url}: Connection refused`);
  assert.match(error.hint ?? "", /OPENBOX_SERVER/);
});

Deno.test("a --tls-ca without a certificate in it is refused instead of ignored", () => {
  const server = parseServerUrl("https://127.0.0.1:1");
  assert.throws(() => createControlClient({ server, tlsCa: "hello" }), { code: "bad_setting" });
});

Deno.test("a token for this machine does not go to the proxy of HTTP_PROXY", async () => {
  await using server = serve(() => Response.json({ nodes: [] }));
  const script = `
    import { createControlClient } from ${
    JSON.stringify(import.meta.resolve("../../../src/client/control_client.ts"))
  };
    import { parseServerUrl } from ${
    JSON.stringify(import.meta.resolve("../../../src/client/server_url.ts"))
  };
    await using control = createControlClient({ server: parseServerUrl(${
    JSON.stringify(server.url)
  }) });
    console.log(await control.nodes());`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--ext=ts", script],
    env: { HTTP_PROXY: "http://127.0.0.1:9", http_proxy: "http://127.0.0.1:9", NO_COLOR: "1" },
  }).output();
  assert.equal(new TextDecoder().decode(stdout), "[]\n");
});
