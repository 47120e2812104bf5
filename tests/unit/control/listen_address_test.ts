import assert from "node:assert/strict";
import { parseListenAddress } from "../../../src/control/listen_address.ts";

Deno.test("an address to listen on, in the forms that people write", () => {
  const parse = (text: string) => {
    const { hostname, port, loopback } = parseListenAddress(text, "--addr");
    return [hostname, port, loopback];
  };
  assert.deepEqual(parse(":8080"), [undefined, 8080, false]);
  assert.deepEqual(parse("localhost:8080"), ["127.0.0.1", 8080, true]);
  assert.deepEqual(parse("[::]:8080"), ["::", 8080, false]);
  assert.deepEqual(parse("[::1]:8080"), ["::1", 8080, true]);
  assert.deepEqual(parse("127.0.0.1:0"), ["127.0.0.1", 0, true]);
  assert.deepEqual(parse("127.8.8.8:1"), ["127.8.8.8", 1, true]);
  assert.deepEqual(parse("0.0.0.0:8080"), ["0.0.0.0", 8080, false]);
  assert.deepEqual(parse("10.0.0.4:8080"), ["10.0.0.4", 8080, false]);
});

Deno.test("what is no address to listen on is refused with the forms there are", () => {
  for (
    const text of ["8080", "localhost", "::1:8080", "box:8080", "127.0.0.1:70000", "x", "1.2:8"]
  ) {
    assert.throws(() => parseListenAddress(text, "OPENBOX_ADDR"), {
      code: "bad_setting",
      message: /OPENBOX_ADDR/,
      hint: /127\.0\.0\.1:8080/,
    }, text);
  }
});
