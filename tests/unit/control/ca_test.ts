import assert from "node:assert/strict";
import { caFingerprint, formatCaKeys, generateCaKeys, parseCaRing } from "../../../src/ca/keys.ts";
import { openSealedCa } from "../../../src/ca/seal.ts";
import type { CaNow } from "../../../src/control/ca.ts";
import type { Code, OpenboxError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import { generateKey, privatePem } from "../../../src/ssh/key.ts";
import type { Store } from "../../../src/store/store.ts";
import { ENTRY } from "../../fixtures/audit_entry.ts";
import { caHome, openCa, openStore, PASSPHRASE, rotate } from "./ca_world.ts";

const refuses = (code: Code, text: RegExp, call: Promise<unknown>) =>
  assert.rejects(call, (error: OpenboxError) => {
    assert.equal(error.code, code, error.message);
    assert.match(`${error.message} ${error.hint}`, text);
    assert.doesNotMatch(String(error), /PRIVATE KEY/);
    return true;
  });

Deno.test("the first start makes the keys, 0600 in 0700, and the next one finds them", async () => {
  await using it = await caHome();
  await using store = await openStore();
  const made = await (await openCa(it.source, store)).now();
  assert.equal(made.sealed, false);
  assert.equal((await Deno.stat(it.path)).mode! & 0o777, 0o600);
  assert.equal((await Deno.stat(it.directory)).mode! & 0o777, 0o700);
  const found = await (await openCa(it.source, store, { firstStart: false })).now();
  assert.equal(found.fingerprint, made.fingerprint);
});

Deno.test("ROT-8: of many starts at once one makes the keys, and all have them", async () => {
  await using it = await caHome();
  await using store = await openStore();
  const opened = await Promise.all(
    Array.from({ length: 20 }, async () => (await (await openCa(it.source, store)).now())),
  );
  assert.equal(new Set(opened.map(({ fingerprint }) => fingerprint)).size, 1);
  assert.deepEqual(
    (await Array.fromAsync(Deno.readDir(it.directory))).map(({ name }) => name),
    ["ca_key"],
  );
});

Deno.test("ROT-8: a key that others can read is refused with the command, and not used", async () => {
  await using it = await caHome();
  await using store = await openStore();
  await openCa(it.source, store);
  for (const mode of [0o644, 0o640, 0o606, 0o660]) {
    await Deno.chmod(it.path, mode);
    await refuses("unsafe_file", /chmod 600 .*ca_key/, openCa(it.source, store));
  }
  await Deno.chmod(it.path, 0o600);
  await Deno.chmod(it.directory, 0o777);
  await refuses("unsafe_file", /chmod 700 .*control/, openCa(it.source, store));
});

Deno.test("ROT-8: a key of another user is refused", { ignore: Deno.uid() !== 0 }, async () => {
  await using it = await caHome();
  await using store = await openStore();
  await openCa(it.source, store);
  await Deno.chown(it.path, 12345, 12345);
  await refuses("unsafe_file", /chown 0/, openCa(it.source, store));
});

Deno.test("ROT-8: a key that is cut, changed or single is refused and stays as it is", async () => {
  for (const passphrase of [undefined, PASSPHRASE]) {
    await using it = await caHome();
    await using store = await openStore();
    await openCa(it.source, store, { passphrase });
    const good = await Deno.readTextFile(it.path);
    const bad = {
      cut: good.slice(0, good.length / 2),
      empty: "",
      single: privatePem(generateKey(), "openbox-host-ca"),
      garbage: "hello",
      three: good + privatePem(generateKey(), "openbox-user-ca"),
    };
    for (const [name, text] of Object.entries(bad)) {
      await Deno.writeTextFile(it.path, text);
      await refuses("bad_file", /ca_key/, openCa(it.source, store));
      assert.equal(await Deno.readTextFile(it.path), text, name);
    }
  }
});

Deno.test("after the first start a lost key is refused, not replaced", async () => {
  await using it = await caHome();
  await using store = await openStore();
  const later = { firstStart: false };
  await refuses("bad_file", /is gone.*backup.*ca-keygen/, openCa(it.source, store, later));
  await refuses("bad_file", /OPENBOX_CA_KEY/, openCa({ kind: "database" }, store, later));
  await assert.rejects(Deno.stat(it.path), Deno.errors.NotFound);
});

Deno.test("a key file that was named is never made", async () => {
  await using it = await caHome();
  await using store = await openStore();
  const source = { kind: "given", path: it.path } as const;
  await refuses("bad_file", /There is no CA key .*ca-keygen/, openCa(source, store));
  await assert.rejects(Deno.stat(it.path), Deno.errors.NotFound);
});

Deno.test("keys come as text too, and then stay as they are", async () => {
  await using store = await openStore();
  const keys = generateCaKeys();
  const ca = await openCa({ kind: "text", pem: formatCaKeys(keys) }, store);
  assert.equal((await ca.now()).fingerprint, caFingerprint(keys));
  await refuses("not_supported", /OPENBOX_CA_KEY.*--ca FILE/, rotate(ca, "init"));
  await refuses("not_supported", /OPENBOX_CA_KEY/, ca.seal(PASSPHRASE, ENTRY));
  assert.equal((await ca.now()).state.user.phase, "standby");
});

Deno.test("a key file of which other control planes have copies stays as it is", async () => {
  await using it = await caHome();
  await using store = await openStore();
  await openCa(it.source, store);
  const source = { kind: "given", path: it.path } as const;
  const ca = await openCa(source, store, { firstStart: false, shared: true });
  await refuses("not_supported", /copy of it.*--ca database/, rotate(ca, "init"));
  (await ca.now()).authority();
});

Deno.test("ROT-6: a sealed CA starts locked, issues nothing, and is unsealed without a restart", async () => {
  await using it = await caHome();
  await using store = await openStore();
  const before = await openCa(it.source, store);
  const { fingerprint } = await before.now();
  await before.seal(PASSPHRASE, ENTRY);
  assert.doesNotMatch(await Deno.readTextFile(it.path), /PRIVATE KEY/);
  assert.equal((await before.now()).locked, false, "who sealed it goes on");
  (await before.now()).authority();

  const ca = await openCa(it.source, store, { firstStart: false });
  const sealed = await ca.now();
  assert.deepEqual([sealed.sealed, sealed.locked], [true, true]);
  assert.equal(sealed.fingerprint, fingerprint, "it still says whose it is");
  assert.throws(() => sealed.authority(), { code: "ca_locked", hint: "openbox ca unseal" });
  await refuses("ca_locked", /unseal/, rotate(ca, "init"));
  await refuses("ca_locked", /unseal/, ca.seal(PASSPHRASE, ENTRY));
  const wrong = new Secret("another five words");
  await refuses("wrong_passphrase", /ca_key/, ca.unseal(wrong, ENTRY));
  assert.equal((await ca.now()).locked, true);
  await ca.unseal(PASSPHRASE, ENTRY);
  assert.equal((await ca.now()).locked, false);
  (await ca.now()).authority();
  await ca.unseal(wrong, ENTRY); // open already: nothing to do
});

Deno.test("ROT-6: tries to unseal are few", async () => {
  await using it = await caHome();
  await using store = await openStore();
  await openCa(it.source, store, { passphrase: PASSPHRASE });
  const ca = await openCa(it.source, store);
  const wrong = new Secret("another five words");
  for (let i = 0; i < 5; i++) await refuses("wrong_passphrase", /./, ca.unseal(wrong, ENTRY));
  await refuses("too_many", /Too many tries/, ca.unseal(PASSPHRASE, ENTRY));
});

Deno.test("ROT-6: with its passphrase at hand a control plane starts open; with a wrong one not at all", async () => {
  await using it = await caHome();
  await using store = await openStore();
  await openCa(it.source, store, { passphrase: PASSPHRASE });
  assert.match(await Deno.readTextFile(it.path), /SEALED/, "made sealed");
  const ca = await openCa(it.source, store, { passphrase: PASSPHRASE, firstStart: false });
  assert.deepEqual([(await ca.now()).sealed, (await ca.now()).locked], [true, false]);
  await refuses(
    "wrong_passphrase",
    /ca_key/,
    openCa(it.source, store, { passphrase: new Secret("another five words") }),
  );
});

Deno.test("ROT-6: a rotation of a sealed CA stays sealed", async () => {
  await using it = await caHome();
  await using store = await openStore();
  const ca = await openCa(it.source, store, { passphrase: PASSPHRASE });
  for (const step of ["init", "update", "finish"] as const) {
    await rotate(ca, step);
    assert.doesNotMatch(await Deno.readTextFile(it.path), /PRIVATE KEY/, step);
  }
  const { fingerprint } = await ca.now();
  const again = await openCa(it.source, store, { passphrase: PASSPHRASE, firstStart: false });
  assert.equal((await again.now()).fingerprint, fingerprint);
});

Deno.test("ROT-8: without a file the CA lies sealed in the database, and of two starts one makes it", async () => {
  await using store = await openStore();
  const source = { kind: "database" } as const;
  await refuses("bad_setting", /passphrase.*OPENBOX_CA_PASSPHRASE/, openCa(source, store));
  const opened = await Promise.all(
    Array.from({ length: 3 }, () => openCa(source, store, { passphrase: PASSPHRASE })),
  );
  const nows = await Promise.all(opened.map((ca) => ca.now()));
  assert.equal(new Set(nows.map(({ fingerprint }) => fingerprint)).size, 1);
  assert.equal((await store.caText())?.version, 1);
  assert.doesNotMatch((await store.caText())!.text, /PRIVATE KEY/);
});

Deno.test("ROT-3: what one control plane does to the CA, another on the same database knows at once", async () => {
  await using store = await openStore();
  const source = { kind: "database" } as const, options = { passphrase: PASSPHRASE };
  const one = await openCa(source, store, options), two = await openCa(source, store, options);
  await rotate(one, "init");
  assert.equal((await two.now()).state.user.phase, "init");
  await rotate(two, "update");
  await rotate(one, "finish");
  const [a, b] = [await one.now(), await two.now()];
  assert.equal(a.fingerprint, b.fingerprint);
  b.authority(); // and can sign with the key that the other one made
  // both at once: one does it
  const both = await Promise.allSettled([rotate(one, "init"), rotate(two, "init")]);
  assert.deepEqual(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  assert.equal((await one.now()).state.user.keys.length, 2);
  // under another passphrase the other one has to be told
  await one.seal(new Secret("quite another passphrase"), ENTRY);
  assert.equal((await two.now()).locked, true);
  await two.unseal(new Secret("quite another passphrase"), ENTRY);
  assert.equal((await two.now()).locked, false);
});

Deno.test("ROT-3: a look at the CA in the middle of another control plane's step finds it before or after", async () => {
  await using store = await openStore();
  const source = { kind: "database" } as const, options = { passphrase: PASSPHRASE };
  const one = await openCa(source, store, options);
  const between: (() => Promise<void>)[] = [];
  const two = await openCa(source, {
    ...store,
    async caSteps() {
      await between.shift()?.(); // the keys were read, the steps were not
      return await store.caSteps();
    },
  }, options);
  await rotate(one, "init");
  await rotate(one, "update");
  between.push(() => rotate(one, "finish"));
  const { state, fingerprint } = await two.now();
  assert.equal(between.length, 0);
  assert.equal(state.user.phase, "standby");
  assert.equal(fingerprint, (await one.now()).fingerprint);
});

/** The store of a control plane that is killed around the moment in which a step comes on record. */
const killed = (store: Store, when: "before" | "after"): Store => ({
  ...store,
  async addCaSteps(...args) {
    if (when === "after") await store.addCaSteps(...args);
    throw new Error("killed");
  },
});

Deno.test("ROT-3: a step that is cut off is done or not done, and the next start knows which", async () => {
  const walk = ["init", "rollback", "init", "update", "finish", "emergency"] as const;
  for (const passphrase of [undefined, PASSPHRASE]) {
    await using it = await caHome();
    await using store = await openStore();
    const start = (over = store) =>
      openCa(it.source, over, { passphrase, firstStart: over === store && fresh });
    let fresh = true;
    await start();
    fresh = false;
    for (const step of walk) {
      const before = await (await start()).now();
      await assert.rejects(rotate(await start(killed(store, "before")), step), /killed/);
      const same = await start(), then = await same.now();
      assert.deepEqual(then.state, before.state, step);
      then.authority();
      // what is in the file is what is trusted, and no key more
      assert.equal(await keysIn(it.path, passphrase), countOf(then));
      await assert.rejects(rotate(await start(killed(store, "after")), step), /killed/);
      const now = await (await start()).now();
      assert.notDeepEqual(now.state, before.state, step);
      now.authority();
      assert.equal(await keysIn(it.path, passphrase), countOf(now));
      if (passphrase) break; // once is enough: it differs in how the text is written
    }
  }
});

const countOf = ({ state }: CaNow): number => state.host.keys.length + state.user.keys.length;

async function keysIn(path: string, passphrase: Secret | undefined): Promise<number> {
  const text = await Deno.readTextFile(path);
  const { host, user } = passphrase
    ? (await openSealedCa(text, passphrase, path)).ring
    : parseCaRing(new Secret(text), path);
  return host.length + user.length;
}

Deno.test("ROT-4: a key file from before a rotation is refused: it may be the one that was stolen", async () => {
  await using it = await caHome();
  await using store = await openStore();
  const ca = await openCa(it.source, store);
  const old = await Deno.readTextFile(it.path);
  await rotate(ca, "emergency");
  await Deno.writeTextFile(it.path, old);
  await refuses("bad_file", /older than the database.*backup/, openCa(it.source, store));
});

Deno.test("keys that were put in their place by hand are a new CA, which can be rotated as well", async () => {
  await using it = await caHome();
  await using store = await openStore();
  await rotate(await openCa(it.source, store), "emergency");
  const keys = generateCaKeys();
  await Deno.writeTextFile(it.path, formatCaKeys(keys).reveal());
  const ca = await openCa(it.source, store, { firstStart: false });
  assert.equal((await ca.now()).fingerprint, caFingerprint(keys));
  for (const step of ["init", "update", "finish"] as const) await rotate(ca, step);
  assert.notEqual((await ca.now()).fingerprint, caFingerprint(keys));
});
