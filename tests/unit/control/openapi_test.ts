import assert from "node:assert/strict";
import { ROUTES } from "../../../src/control/routes/table.ts";
import { startWorld } from "./world.ts";

Deno.test("the description names every route, its parameters, its body and its answers", async () => {
  await using world = await startWorld();
  const { status, headers, body } = await world.call("GET", "/openapi.json");
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "application/json");
  for (const route of ROUTES) {
    const path = route.path.replace(":id", "{id}");
    const operation = body.paths[path]?.[route.method.toLowerCase()];
    assert.ok(operation, `${route.method} ${path}`);
    assert.equal(operation.requestBody !== undefined, route.body !== undefined, path);
    const answers = new Set(Object.keys(operation.responses));
    for (const wanted of [...Object.keys(route.answers), "400", "421", "429", "503"]) {
      assert.ok(answers.has(wanted), `${route.method} ${path} ${wanted}`);
    }
    const own = route.auth === "user" || route.auth === "node";
    assert.deepEqual(operation.security, own ? [{ [route.auth]: [] }] : undefined, path);
    assert.equal(answers.has("401"), own || route.auth === "enroll_token", path);
    assert.ok(!answers.has("500"), "a failure of ours is promised by nobody");
    if (path.includes("{id}")) assert.equal(operation.parameters[0].name, "id");
  }
  const dispatch = body.paths["/v1/dispatch"].post;
  assert.match(dispatch.responses["503"].description, /database_unavailable, node_offline/);
  assert.ok(dispatch.requestBody.content["application/json"].schema.properties.client_pubkey);
  const ids = Object.values<Record<string, { operationId: string }>>(body.paths)
    .flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId));
  assert.equal(new Set(ids).size, ROUTES.length);
});
