import assert from "node:assert/strict";
import { parseServerUrl, requireSecure } from "../../../src/client/server_url.ts";
import { OpenboxError } from "../../../src/errors.ts";

Deno.test("an address is read into scheme, host, port and path", () => {
  const read = (text: string) => {
    const { href, port, loopback, plain } = parseServerUrl(text);
    return [href, port, loopback, plain];
  };
  assert.deepEqual(read("http://127.0.0.1:8080"), ["http://127.0.0.1:8080", 8080, true, true]);
  assert.deepEqual(read("HTTP://LocalHost:80/"), ["http://localhost", 80, true, true]);
  assert.deepEqual(read("https://box.example.com"), ["https://box.example.com", 443, false, false]);
  assert.deepEqual(read("https://x.example/a/b/"), ["https://x.example/a/b", 443, false, false]);
  assert.deepEqual(read("http://[::1]:9"), ["http://[::1]:9", 9, true, true]);
  assert.deepEqual(read("http://127.1:9"), ["http://127.0.0.1:9", 9, true, true]);
  assert.deepEqual(read("http://127.0.0.1.example.com:9").slice(2), [false, true]);
});

Deno.test("what is no address of a control plane is refused", () => {
  const bad = [
    "",
    "localhost:8080",
    "box.example.com",
    "ftp://x",
    "http://",
    "https://user:pw@x",
    "https://x/?a=b",
    "https://x/#y",
    "http://x:99999",
    "javascript:alert(1)",
  ];
  for (const text of bad) {
    assert.throws(() => parseServerUrl(text), (error) => {
      assert(error instanceof OpenboxError, text);
      assert.equal(error.code, "bad_setting");
      assert.match(error.message, /^--server "/);
      return true;
    }, text);
  }
});

Deno.test("CFG-6: plain HTTP to another machine is refused without --insecure-http", () => {
  const far = parseServerUrl("http://10.0.0.4:8080");
  assert.throws(() => requireSecure(far, false), { code: "insecure_http" });
  requireSecure(far, true);
  requireSecure(parseServerUrl("http://127.0.0.1:8080"), false);
  requireSecure(parseServerUrl("https://10.0.0.4"), false);
});
