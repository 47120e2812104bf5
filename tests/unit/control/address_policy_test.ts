import assert from "node:assert/strict";
import { checkNodeAddress } from "../../../src/control/address_policy.ts";
import { classify } from "../../../src/transport/address_class.ts";
import type { OpenboxError } from "../../../src/errors.ts";

const ALWAYS = [
  "10.0.0.4:7600",
  "192.168.1.2:1",
  "172.16.0.1:65535",
  "100.64.0.7:7600",
  "8.8.8.8:7600",
  "[2001:db8::1]:7600",
  "[fd12:3456::1]:7600",
  "mini.local:7600",
  "box-1.example.com:7600",
  "box.example.com.:7600",
];
const LOOPBACK = [
  "127.0.0.1:7600",
  "127.9.9.9:7600",
  "[::1]:7600",
  "[::ffff:127.0.0.1]:7600",
  "[::ffff:7f00:1]:7600",
  "[0:0:0:0:0:ffff:127.0.0.1]:7600",
  "[64:ff9b::127.0.0.1]:7600",
  "localhost:7600",
  "LOCALHOST:7600",
  "a.localhost:7600",
];
const NEVER = [
  "169.254.169.254:80",
  "[::ffff:169.254.169.254]:80",
  "[::ffff:a9fe:a9fe]:80",
  "[64:ff9b::a9fe:a9fe]:80",
  "[fd00:ec2::254]:80",
  "100.100.100.200:80",
  "168.63.129.16:80",
  "metadata.google.internal:80",
  "METADATA:80",
  "0.0.0.0:7600",
  "0.1.2.3:7600",
  "[::]:7600",
  "[::0]:7600",
  "[::ffff:0.0.0.0]:7600",
  "224.0.0.1:7600",
  "255.255.255.255:7600",
  "240.0.0.1:7600",
  "[ff02::1]:7600",
  "[fe80::1]:7600",
  "[fe80::1%eth0]:7600",
  // not addresses at all, or in a spelling that resolvers read as one
  "0:7600",
  "127.1:7600",
  "2130706433:7600",
  "0x7f000001:7600",
  "0x7f.0.0.1:7600",
  "017700000001:7600",
  "10.0.0.999:7600",
  "10.0.0.4",
  "10.0.0.4:0",
  "10.0.0.4:65536",
  "10.0.0.4:-1",
  "10.0.0.4:7600/x",
  "http://10.0.0.4:7600",
  "user@10.0.0.4:7600",
  "::1:7600",
  "[10.0.0.4]:7600",
  "[::1]7600",
  ":7600",
  "a b:7600",
  "a\n:7600",
  "-a.example.com:7600",
  "ex_ample.com:7600",
  `${"a".repeat(64)}.example.com:7600`,
];

const allows = (address: string, loopback: boolean): boolean => {
  try {
    checkNodeAddress(address, { loopback });
    return true;
  } catch (error) {
    assert.equal((error as OpenboxError).code, "bad_request", address);
    return false;
  }
};

Deno.test("ENR-10: private, public and named addresses are taken", () => {
  for (const address of ALWAYS) {
    assert.ok(allows(address, true), address);
    assert.ok(allows(address, false), address);
  }
});

Deno.test("ENR-10: loopback is taken while the control plane is on loopback", () => {
  for (const address of LOOPBACK) {
    assert.ok(allows(address, true), address);
    assert.ok(!allows(address, false), address);
  }
});

Deno.test("ENR-10: link-local, metadata, unspecified, multicast and odd spellings are refused", () => {
  for (const address of NEVER) assert.ok(!allows(address, true), address);
});

Deno.test("one address in different spellings is one class", () => {
  for (const host of ["::ffff:10.0.0.1", "::ffff:a00:1", "0::ffff:0a00:0001"]) {
    assert.equal(classify(host), "elsewhere", host);
  }
  for (const host of ["::1", "0:0:0:0:0:0:0:1", "0::1"]) assert.equal(classify(host), "loopback");
});
