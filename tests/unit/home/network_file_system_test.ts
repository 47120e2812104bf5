import assert from "node:assert/strict";
import { networkFileSystem } from "../../../src/home/network_file_system.ts";

const onLinux = { ignore: Deno.build.os !== "linux" };

Deno.test(
  "CFG-9: a file system that other machines share is known by its number",
  onLinux,
  async () => {
    const type = (number: number) => networkFileSystem("/x", () => Promise.resolve(number));
    assert.equal(await type(0x6969), "NFS");
    assert.equal(await type(0xff534d42), "CIFS");
    assert.equal(await type(0xff534d42 | 0), "CIFS", "as a signed number");
    assert.equal(await type(0xef53), undefined);
  },
);

Deno.test("a directory of this machine is on none, and one that is not there neither", async () => {
  assert.equal(await networkFileSystem("/"), undefined);
  assert.equal(await networkFileSystem("/no/such/place"), undefined);
});
