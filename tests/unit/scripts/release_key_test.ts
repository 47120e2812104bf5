import assert from "node:assert/strict";
import { parseReleaseKeys } from "../../../src/release/keys.ts";
import { parsePrivatePem } from "../../../src/ssh/key.ts";
import { requireComponent } from "../../fixtures/component.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;

async function openCheckout() {
  const folder = await Deno.makeTempDir();
  for (const path of ["root/scripts", "root/src/release"]) {
    await Deno.mkdir(`${folder}/${path}`, { recursive: true });
  }
  for (const file of ["scripts/release-key", "scripts/lib.sh", "src/release/release_keys.txt"]) {
    await Deno.copyFile(ROOT + file, `${folder}/root/${file}`);
  }
  return {
    folder,
    keys: async () =>
      parseReleaseKeys(await Deno.readTextFile(`${folder}/root/src/release/release_keys.txt`)),
    async make(...args: string[]) {
      const { code, stderr } = await new Deno.Command("/bin/sh", {
        args: ["root/scripts/release-key", ...args],
        cwd: folder,
      }).output();
      return { code, stderr: new TextDecoder().decode(stderr) };
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

Deno.test(
  "release-key makes a pair: one half in a private file, the other in the list",
  requireComponent("ssh-keygen"),
  async () => {
    await using checkout = await openCheckout();
    const before = await checkout.keys();
    assert.equal((await checkout.make("key")).code, 0);
    const [made] = (await checkout.keys()).slice(before.length);
    const path = `${checkout.folder}/key`;
    const [named] = parsePrivatePem(await Deno.readTextFile(path));
    assert.deepEqual(named!.key.blob, made!.key.blob);
    assert.equal(made!.until, `${new Date().getUTCFullYear() + 5}-12-31`);
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    await assert.rejects(Deno.stat(`${path}.pub`), Deno.errors.NotFound);
    assert.equal((await checkout.make("second")).code, 0);
    assert.equal((await checkout.keys()).length, before.length + 2);
  },
);

Deno.test(
  "release-key overwrites nothing, and makes no key that could be committed",
  requireComponent("ssh-keygen"),
  async () => {
    await using checkout = await openCheckout();
    const before = await checkout.keys();
    await Deno.writeTextFile(`${checkout.folder}/there`, "precious");
    await Deno.symlink("root", `${checkout.folder}/link`);
    for (
      const [args, why] of [
        [[], /usage/],
        [["there"], /is there already/],
        [["root/key"], /is in the checkout/],
        [["link/src/key"], /is in the checkout/],
        [["no/such/folder"], /there is no folder/],
      ] as const
    ) {
      const { code, stderr } = await checkout.make(...args);
      assert.equal(code, 1);
      assert.match(stderr, why);
    }
    assert.equal(await Deno.readTextFile(`${checkout.folder}/there`), "precious");
    assert.deepEqual(await checkout.keys(), before);
  },
);
