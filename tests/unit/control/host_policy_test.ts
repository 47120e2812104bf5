import assert from "node:assert/strict";
import { isAllowedHost, splitOrigin } from "../../../src/control/host_policy.ts";

Deno.test("TOK-17: our own name, loopback names and addresses are answered, other names are not", () => {
  const url = "https://box.example.com:8443";
  for (
    const host of [
      "localhost",
      "LOCALHOST",
      "a.localhost",
      "127.0.0.1",
      "10.0.0.4",
      "[::1]",
      "[fd00::1]",
      "box.example.com",
      "Box.Example.com.",
    ]
  ) {
    assert.ok(isAllowedHost(host, url), host);
  }
  for (
    const host of ["evil.example", "example.com", "x.box.example.com", "localhost.evil.example", ""]
  ) {
    assert.ok(!isAllowedHost(host, url), host);
  }
  assert.ok(!isAllowedHost("box.example.com", undefined));
});

Deno.test("an origin is cut from a URL as it stands there", () => {
  const split = (url: string) => Object.values(splitOrigin(url));
  assert.deepEqual(split("http://box:8080/v1/nodes?x=http://y/"), ["http://box:8080", "box"]);
  assert.deepEqual(split("https://[::1]:8080/"), ["https://[::1]:8080", "[::1]"]);
  assert.deepEqual(split("http://[::1]/"), ["http://[::1]", "[::1]"]);
});
