import assert from "node:assert/strict";
import { OpenboxError } from "../../../src/errors.ts";
import {
  formatAddress,
  isLoopback,
  isUnspecified,
  parseAddress,
} from "../../../src/transport/address.ts";

Deno.test("an address is host and port, IPv6 in brackets, or only a port", () => {
  const cases: [string, string, number][] = [
    ["10.0.0.4:7600", "10.0.0.4", 7600],
    ["mini.lan:22", "mini.lan", 22],
    [":7600", "", 7600],
    ["[::1]:7600", "::1", 7600],
    ["[fe80::1%eth0]:7600", "fe80::1%eth0", 7600],
    ["[::]:0", "::", 0],
  ];
  for (const [text, host, port] of cases) {
    assert.deepEqual(parseAddress(text, "--addr"), { host, port }, text);
  }
  assert.deepEqual(parseAddress("10.0.0.4", "--addr", { defaultPort: 7600 }), {
    host: "10.0.0.4",
    port: 7600,
  });
});

Deno.test("what is no address is refused, and the text that was meant is named", () => {
  for (const text of ["", "host", "::1:7600", "a b:1", "x:70000", "http://x:1", "x:-1", "[]:1"]) {
    assert.throws(
      () => parseAddress(text, "--addr"),
      (error: OpenboxError) =>
        error.code === "bad_setting" && error.message.includes(`--addr ${JSON.stringify(text)}`),
      text,
    );
  }
});

Deno.test("an address reads back as it was written", () => {
  for (const text of ["10.0.0.4:7600", "[::1]:7600"]) {
    assert.equal(formatAddress(parseAddress(text, "--addr")), text);
  }
});

Deno.test("unspecified and loopback addresses are told from those that others can dial", () => {
  for (const host of ["", "0.0.0.0", "::", "0:0:0:0:0:0:0:0"]) assert.ok(isUnspecified(host), host);
  for (const host of ["127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"]) {
    assert.ok(isLoopback(host), host);
  }
  for (const host of ["10.0.0.4", "128.0.0.1", "fe80::1", "127.example"]) {
    assert.ok(!isUnspecified(host) && !isLoopback(host), host);
  }
});
