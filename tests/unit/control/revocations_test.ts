import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import type { SignedStatement } from "../../../src/ca/operations.ts";
import {
  type VerifiedRevocations,
  verifyRevocationList,
} from "../../../src/client/revocation_list.ts";
import { systemClock } from "../../../src/clock.ts";
import { authorizedLine, fingerprint, generateKey } from "../../../src/ssh/key.ts";
import { parseCertificate, parseCertificateLine } from "../../../src/ssh/certificate.ts";
import { EXTENSION } from "../../../src/ca/names.ts";
import { openSqliteStore } from "../../../src/store/sqlite.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { done, tokenOf } from "./access_world.ts";
import { assertRefused, CA, startWorld, type TestNode, type World } from "./world.ts";

const HOUR = 3600_000, DAY = 24 * HOUR;
const KEY = generateKey();

const revoke = (world: World, body: object, token = world.token) =>
  world.call("POST", "/v1/revocations", { token, body });
const dispatch = (world: World, token = world.token, key = KEY) =>
  world.call("POST", "/v1/dispatch", { token, body: { client_pubkey: authorizedLine(key) } });

/** As an agent that holds this list; without one, as one that holds none. */
async function beat(world: World, node: TestNode, held?: VerifiedRevocations) {
  const reply = await world.call("POST", "/v1/nodes/heartbeat", {
    token: node.token,
    body: {
      node_id: node.id,
      ...(held && {
        revocations_version: held.version,
        revocations_issued_at: held.issuedAt / 1000,
      }),
    },
  });
  assert.equal(reply.status, 200, reply.text);
  return reply.body;
}

const read = (world: World, statement: SignedStatement, now = Date.now()): VerifiedRevocations =>
  verifyRevocationList(statement, {
    authorities: [CA.host],
    accountId: world.user.accountId,
    now,
  });

const tokenIdOf = (line: string) =>
  parseCertificate(parseCertificateLine(line)).extensions.get(EXTENSION.token)!;

Deno.test("CERT-28: a token that is revoked is refused at once, and is in the next list", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const first = read(world, (await beat(world, node)).revocation_list);
  assert.deepEqual([first.version, first.entries], [0, []]);
  const { body: { user_cert } } = await dispatch(world);
  const id = tokenIdOf(user_cert);
  assert.match(id, /^tok_/);

  const reply = await revoke(world, { kind: "token", id, reason: "laptop stolen" });
  assert.equal(reply.status, 200, reply.text);
  assertRefused(await dispatch(world), 401, "unauthorized");
  assertRefused(await world.call("GET", "/v1/whoami", { token: world.token }), 401, "unauthorized");

  const { revocation_list } = await beat(world, node, first);
  const list = read(world, revocation_list);
  assert.equal(list.version, reply.body.version);
  assert.deepEqual(list.entries, [{ kind: "token", id, issuedBefore: undefined }]);
  assert.equal((await beat(world, node, list)).revocation_list, undefined, "nothing new");
});

Deno.test("CLK-2: a token that was revoked does not come back with a clock that is set back", async () => {
  const clock = new FakeClock(Date.UTC(2026, 0, 1));
  await using world = await startWorld({ clock });
  await world.enroll();
  const id = tokenIdOf((await dispatch(world)).body.user_cert);
  await revoke(world, { kind: "token", id });
  for (const by of [-30 * DAY, 60 * DAY]) {
    clock.advance(by);
    assertRefused(await dispatch(world), 401, "unauthorized");
  }
});

Deno.test("CERT-28: with a user go all his tokens, those that enroll too; he is named by id or by name", async () => {
  await using world = await startWorld();
  const enrolling = await world.call("POST", "/v1/enroll-tokens", {
    token: world.token,
    body: {},
  });
  const node = await world.enroll();
  const reply = await revoke(world, { kind: "user", id: world.user.name });
  assert.equal(reply.body.id, world.user.id);
  assertRefused(await dispatch(world), 401, "unauthorized");
  const register = await world.call("POST", "/v1/nodes/register", {
    body: {
      enroll_token: enrolling.body.token,
      name: "x",
      host_pubkey: authorizedLine(generateKey()),
      addr: "127.0.0.1:7600",
      os: "linux",
      arch: "amd64",
      proof: "x",
    },
  });
  assert.equal(register.status, 401);
  const [entry] = read(world, (await beat(world, node)).revocation_list).entries;
  assert.deepEqual([entry!.kind, entry!.id], ["user", world.user.id]);
  assert.ok(entry!.issuedBefore! > Date.now());
});

Deno.test("CERT-28: the nodes hear of tokens and users that were removed, and of all that a token made", async () => {
  await using world = await startWorld();
  const node = await world.enroll(), by = { token: world.token };
  const first = await tokenOf(world, "ann"), second = await tokenOf(world, "bob");
  const child = await done(world.call("POST", "/v1/tokens", { token: first.token, body: {} }));
  const entries = async () =>
    read(world, (await beat(world, node)).revocation_list).entries.map(({ id }) => id).toSorted();
  await done(revoke(world, { kind: "token", id: first.id }));
  assert.deepEqual(await entries(), [child.id, first.id].toSorted());
  assertRefused(await dispatch(world, child.token), 401, "unauthorized");

  const other = await tokenOf(world, "ann");
  await world.call("DELETE", `/v1/tokens/${other.id}`, by);
  assert.ok((await entries()).includes(other.id));
  await world.call("DELETE", `/v1/users/${second.userId}`, by);
  assert.ok((await entries()).includes(second.userId));
  const enrolling = await done(world.call("POST", "/v1/enroll-tokens", { ...by, body: {} }));
  assert.equal((await revoke(world, { kind: "token", id: enrolling.id })).status, 200);
  assertRefused(await revoke(world, { kind: "token", id: enrolling.id }), 404, "not_found");
});

Deno.test("everybody may revoke his own tokens, a token with scopes itself; the rest takes admin", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const ann = await tokenOf(world, "ann"), anns = await tokenOf(world, "ann");
  const scoped = await tokenOf(world, "ann", { scopes: ["read"] });
  const bob = await tokenOf(world, "bob");
  const code = async (token: string, body: object) => {
    const reply = await revoke(world, body, token);
    return reply.status === 200 ? "ok" : reply.body.code;
  };
  for (
    const body of [
      { kind: "token", id: bob.id },
      { kind: "user", id: "ann" },
      { kind: "node", id: node.id },
      { kind: "cert", id: "1" },
      { kind: "key", id: fingerprint(KEY.blob) },
    ]
  ) assert.equal(await code(ann.token, body), "not_allowed", JSON.stringify(body));
  const listed = await world.call("GET", "/v1/revocations", { token: ann.token });
  assertRefused(listed, 403, "not_allowed");
  assert.notEqual(await code(scoped.token, { kind: "token", id: anns.id }), "ok");
  assert.equal(await code(scoped.token, { kind: "token", id: scoped.id }), "ok");
  assert.equal(await code(ann.token, { kind: "token", id: anns.id }), "ok");
  assert.equal(await code(ann.token, { kind: "token", id: ann.id }), "ok");
  assert.equal(await code(ann.token, { kind: "token", id: ann.id }), "unauthorized");
  assert.equal(await code(world.token, { kind: "token", id: bob.id }), "ok");
});

Deno.test("a key that is revoked gets no certificate; another one does", async () => {
  await using world = await startWorld();
  await world.enroll();
  assert.equal((await dispatch(world)).status, 200);
  await revoke(world, { kind: "key", id: fingerprint(KEY.blob) });
  assertRefused(await dispatch(world), 403, "revoked");
  assert.equal((await dispatch(world, world.token, generateKey())).status, 200);
});

Deno.test("ENR-7: a node that is revoked is removed, and its agent told", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  assert.equal((await revoke(world, { kind: "node", id: node.id })).status, 200);
  const options = { token: node.token, body: { node_id: node.id } };
  assertRefused(await world.call("POST", "/v1/nodes/heartbeat", options), 410, "node_deleted");
  assertRefused(await revoke(world, { kind: "node", id: node.id }), 404, "node_not_found");
});

Deno.test("what cannot be revoked is refused with what can; another account's is not there", async () => {
  await using world = await startWorld();
  const other = await world.newAccount("other");
  await world.enroll();
  const id = tokenIdOf((await dispatch(world)).body.user_cert);
  for (
    const [body, status] of [
      [{ kind: "planet", id: "earth" }, 400],
      [{ kind: "token" }, 400],
      [{ kind: "cert", id: "x" }, 400],
      [{ kind: "cert", id: "007" }, 400],
      [{ kind: "key", id: "ssh-ed25519 AAAA" }, 400],
      [{ kind: "token", id: "tok_000000000000" }, 404],
      [{ kind: "user", id: "nobody" }, 404],
      [{ kind: "token", id, reason: "x".repeat(201) }, 400],
    ] as const
  ) assert.equal((await revoke(world, body)).status, status, JSON.stringify(body));
  for (const body of [{ kind: "token", id }, { kind: "user", id: world.user.id }]) {
    assertRefused(await revoke(world, body, other.token), 404, "not_found");
  }
  assert.equal((await dispatch(world)).status, 200);
  const listed = await world.call("GET", "/v1/revocations", { token: other.token });
  assert.deepEqual(listed.body, { version: 0, revocations: [] });
});

Deno.test("who revoked what, when and why is listed and on record", async () => {
  await using world = await startWorld();
  const { token } = world;
  await revoke(world, { kind: "cert", id: "4711", reason: "  copied  " });
  const { body } = await world.call("GET", "/v1/revocations", { token });
  const [one] = body.revocations;
  assert.deepEqual([one.kind, one.id, one.by, one.reason, one.before], [
    "cert",
    "4711",
    world.user.id,
    "copied",
    null,
  ]);
  assert.equal(one.version, body.version);
  const audit = await world.call("GET", "/v1/audit", { token });
  const found = audit.body.records.find(({ action }: { action: string }) => action === "revoke");
  assert.deepEqual([found.subject, found.detail], ["4711", { kind: "cert", reason: "copied" }]);
});

Deno.test("AUD-4: what is revoked is revoked also where no record can be made of it", async () => {
  const directory = await Deno.makeTempDir(), path = `${directory}/openbox.db`;
  try {
    await (await openSqliteStore(path, { clock: systemClock }))[Symbol.asyncDispose]();
    const database = new DatabaseSync(path);
    database.exec(
      `create trigger full before insert on audit when new.action in ('revoke')
       begin select raise(abort, 'no room'); end`,
    );
    database.close();
    await using world = await startWorld({
      store: await openSqliteStore(path, { clock: systemClock }),
    });
    const node = await world.enroll();
    const id = tokenIdOf((await dispatch(world)).body.user_cert);
    const removed = await revoke(world, { kind: "node", id: node.id });
    assert.equal(removed.status, 200, removed.text);
    const reply = await revoke(world, { kind: "token", id });
    assert.equal(reply.status, 200, reply.text);
    assertRefused(await dispatch(world), 401, "unauthorized");
    assert.equal((await world.store.revocations(world.user.accountId)).version, reply.body.version);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a list is signed anew after ten minutes, once a minute at most for all nodes, and at once for a revocation", async () => {
  const clock = new FakeClock(Date.UTC(2026, 0, 1));
  await using world = await startWorld({ clock });
  const a = await world.enroll({ name: "a" }), b = await world.enroll({ name: "b" });
  const now = () => clock.now();
  const first = (await beat(world, a)).revocation_list as SignedStatement;
  clock.advance(59_000);
  assert.equal((await beat(world, b)).revocation_list.signature, first.signature);
  clock.advance(2_000);
  assert.notEqual((await beat(world, b)).revocation_list.signature, first.signature);

  const held = read(world, first, now());
  clock.advance(8 * 60_000);
  assert.equal((await beat(world, a, held)).revocation_list, undefined);
  clock.advance(60_000);
  const fresh = read(world, (await beat(world, a, held)).revocation_list, now());
  assert.deepEqual([fresh.version, fresh.issuedAt], [0, Math.floor(now() / 1000) * 1000]);
  await revoke(world, { kind: "cert", id: "1" });
  const next = read(world, (await beat(world, a, fresh)).revocation_list, now());
  assert.equal(next.entries.length, 1);
});

Deno.test("a new node has the list with its registration", async () => {
  await using world = await startWorld();
  await revoke(world, { kind: "cert", id: "1" });
  const { answer } = await world.enroll({ online: false });
  assert.equal(read(world, answer.revocation_list).entries.length, 1);
});

Deno.test("openbox nodes: which list a node holds, how old that is, and whether it is stale", async () => {
  const clock = new FakeClock(Date.UTC(2026, 0, 1));
  await using world = await startWorld({ clock });
  const node = await world.enroll();
  const show = async () =>
    (await world.call("GET", `/v1/nodes/${node.id}`, { token: world.token })).body.revocations;
  assert.equal(await show(), null);
  const { version } = (await revoke(world, { kind: "cert", id: "1" })).body;
  const held = read(world, (await beat(world, node)).revocation_list, clock.now());
  await beat(world, node, held);
  clock.advance(5_000);
  assert.deepEqual(await show(), { version, age_seconds: 5, stale: false });
  await world.store.flush();
  clock.advance(DAY);
  assert.deepEqual(await show(), { version, age_seconds: 86_405, stale: true });
});

Deno.test("STO-8, I5: a control plane that was restored takes its revocations back from a node", async () => {
  const clock = new FakeClock(Date.UTC(2026, 0, 1));
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/openbox.db`, open = () => openSqliteStore(path, { clock });
    let node: TestNode, tokenId: string, held: SignedStatement, token: string;
    {
      await using world = await startWorld({ clock, store: await open() });
      node = await world.enroll();
      tokenId = tokenIdOf((await dispatch(world)).body.user_cert);
      token = world.token;
    }
    const backup = await Deno.readFile(path);
    {
      clock.advance(HOUR);
      await using world = await startWorld({ clock, store: await open() });
      assert.equal((await revoke(world, { kind: "cert", id: "7" }, token)).status, 200);
      assert.equal((await revoke(world, { kind: "token", id: tokenId }, token)).status, 200);
      held = (await beat(world, node)).revocation_list;
    }
    for (const end of ["-wal", "-shm"]) await Deno.remove(path + end).catch(() => {});
    await Deno.writeFile(path, backup);

    clock.advance(HOUR);
    await using world = await startWorld({ clock, store: await open() });
    await beat(world, node);
    assert.equal((await dispatch(world, token)).status, 200, "the restore forgot it");
    // what is revoked since the restore does not hide that something is missing
    await revoke(world, { kind: "cert", id: "8" }, token);
    const known = read(world, held, clock.now());
    const answer = await beat(world, node, known);
    assert.equal(answer.send_revocations, true);
    assert.equal(answer.revocation_list, undefined, "the node keeps its own until they are one");
    const given = await world.call("POST", "/v1/nodes/revocations", {
      token: node.token,
      body: { node_id: node.id, revocation_list: held },
    });
    assert.equal(given.status, 200, given.text);
    assertRefused(await dispatch(world, token), 401, "unauthorized");
    const merged = read(world, given.body.revocation_list, clock.now());
    assert.ok(merged.version > known.version);
    const ids = merged.entries.map(({ kind, id }) => `${kind} ${id}`).sort();
    assert.deepEqual(ids, ["cert 7", "cert 8", `token ${tokenId}`]);
    assert.equal((await beat(world, node, merged)).send_revocations, undefined);
    // again, as by another node that held the same: nothing is new, and the answer is the list of now
    const again = await world.call("POST", "/v1/nodes/revocations", {
      token: node.token,
      body: { node_id: node.id, revocation_list: held },
    });
    assert.equal(read(world, again.body.revocation_list, clock.now()).version, merged.version);
    const records = await world.store.auditRecords(world.user.accountId, { after: 0, limit: 1000 });
    assert.ok(records.some(({ action }) => action === "revocations.adopt"));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a node cannot give a list that was not signed here, nor for another node or account", async () => {
  await using world = await startWorld();
  const node = await world.enroll(), two = await world.enroll({ name: "two" });
  const other = await world.newAccount("other");
  const theirs = await world.enroll({ name: "theirs", token: other.token });
  await revoke(world, { kind: "cert", id: "1" }, other.token);
  const foreign = (await beat(world, theirs)).revocation_list as SignedStatement;
  const own = (await beat(world, node)).revocation_list as SignedStatement;
  const give = (revocation_list: SignedStatement, node_id = node.id) =>
    world.call("POST", "/v1/nodes/revocations", {
      token: node.token,
      body: { node_id, revocation_list },
    });
  assertRefused(await give(own, two.id), 401, "unauthorized");
  assertRefused(await give(foreign), 403, "cert_refused");
  const changed = { ...own, payload: own.payload.replace('"version":0', '"version":9') };
  assertRefused(await give(changed), 403, "cert_refused");
  assertRefused(await give({ ...own, certificate: "x" }), 403, "cert_refused");
  assert.equal((await world.store.revocations(world.user.accountId)).version, 0);
});

Deno.test("CERT-28: a list is not taken back from a key that is revoked", async () => {
  const clock = new FakeClock(Date.UTC(2026, 0, 1));
  await using world = await startWorld({ clock });
  const node = await world.enroll();
  const own = (await beat(world, node)).revocation_list as SignedStatement;
  const certificate = parseCertificate(parseCertificateLine(own.certificate));
  const give = () =>
    world.call("POST", "/v1/nodes/revocations", {
      token: node.token,
      body: { node_id: node.id, revocation_list: own },
    });
  assert.equal((await give()).status, 200);
  // another account's word does not keep this one's lists from being restored
  const other = await world.newAccount("other");
  await done(revoke(world, { kind: "cert", id: String(certificate.serial) }, other.token));
  assert.equal((await give()).status, 200);
  await done(revoke(world, { kind: "cert", id: String(certificate.serial) }));
  assertRefused(await give(), 403, "cert_refused");
  const next = (await beat(world, node)).revocation_list as SignedStatement;
  const list = read(world, next, clock.now());
  assert.notEqual(list.signer.fingerprint, fingerprint(certificate.key.blob), "by another key now");
});

Deno.test("of a list whose version is known nothing is taken back", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const { accountId } = world.user;
  await done(revoke(world, { kind: "cert", id: "1" }));
  const own = (await beat(world, node)).revocation_list as SignedStatement;
  await done(revoke(world, { kind: "cert", id: "1" }));
  assert.equal((await beat(world, node, read(world, own))).send_revocations, undefined);
  const before = await world.store.revocations(accountId);
  const given = await world.call("POST", "/v1/nodes/revocations", {
    token: node.token,
    body: { node_id: node.id, revocation_list: own },
  });
  assert.equal(read(world, given.body.revocation_list).version, before.version);
  assert.deepEqual(await world.store.revocations(accountId), before);
  const records = await world.store.auditRecords(accountId, { after: 0, limit: 1000 });
  assert.ok(!records.some(({ action }) => action === "revocations.adopt"));
});
