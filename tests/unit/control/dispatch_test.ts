import assert from "node:assert/strict";
import { createCertAuthority } from "../../../src/ca/authority.ts";
import { OPTION } from "../../../src/ca/names.ts";
import { verifyUserCert } from "../../../src/ca/verifier.ts";
import {
  certificateLine,
  parseCertificate,
  parseCertificateLine,
} from "../../../src/ssh/certificate.ts";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { assertRefused, CA, startWorld, type World } from "./world.ts";

const KEY = generateKey();
const dispatch = (world: World, body: object, token = world.token) =>
  world.call("POST", "/v1/dispatch", {
    token,
    body: { client_pubkey: authorizedLine(KEY), ...body },
  });

Deno.test("a dispatch names the node and brings a certificate for it alone", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const node = await world.enroll({ tags: ["gpu"] });
  const { status, body } = await dispatch(world, { tag: "gpu" });
  assert.equal(status, 200);
  const { user_cert, ...rest } = body;
  assert.deepEqual(rest, {
    node_id: node.id,
    node_name: "mini",
    addr: "127.0.0.1:7600",
    host_pubkey: authorizedLine(node.key),
    ca_pubkey: authorizedLine(CA.host),
    principal: "me",
    session_created: false,
    host_ca_pubkey: authorizedLine(CA.host),
    user_ca_pubkey: authorizedLine(CA.user),
    server_time: clock.now() / 1000,
    isolation: "native",
  });
  const policy = {
    authorities: [CA.user],
    username: "me",
    accountId: world.user.accountId,
    nodeId: node.id,
    now: clock.now(),
    remoteAddress: "10.0.0.1",
  };
  const user = verifyUserCert(parseCertificateLine(user_cert), policy);
  assert.equal(user.userId, world.user.id);
  assert.equal(user.isolation, undefined, "no isolation was named, so the certificate names none");
  assert.throws(() => verifyUserCert(parseCertificateLine(user_cert), { ...policy, nodeId: "x" }));
});

Deno.test("an isolation that is named is put into the certificate as it is, native too", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  for (const isolation of ["native", "docker:alpine:3.20", "nspawn:/srv/debian"]) {
    const { status, body } = await dispatch(world, { isolation });
    assert.equal(status, 200);
    assert.equal(body.isolation, isolation);
    const user = verifyUserCert(parseCertificateLine(body.user_cert), {
      authorities: [CA.user],
      username: "me",
      accountId: world.user.accountId,
      nodeId: node.id,
      now: Date.now(),
      remoteAddress: "10.0.0.1",
    });
    assert.equal(user.isolation, isolation);
  }
});

Deno.test("ISO-3: an isolation that is none is refused", async () => {
  await using world = await startWorld();
  await world.enroll();
  for (
    const isolation of [
      "",
      "docker",
      "docker:",
      "docker:-v/:/host",
      " native",
      "podman:x",
      "native\n",
    ]
  ) {
    assertRefused(await dispatch(world, { isolation }), 400, "isolation_invalid");
  }
  assertRefused(await dispatch(world, { isolation: null }), 400, "bad_request");
});

Deno.test("CERT-4: a login is certified as it was asked for; one that is no name is refused", async () => {
  await using world = await startWorld();
  await world.enroll();
  const certified = async (login: string) => {
    const { body } = await dispatch(world, { login });
    return parseCertificate(parseCertificateLine(body.user_cert)).critical.get(OPTION.login);
  };
  assert.deepEqual([await certified("build"), await certified("")], ["build", undefined]);
  for (const login of ["0", "-x", "a b", "a:b", "x".repeat(33), null]) {
    assertRefused(await dispatch(world, { login }), 400, "bad_request");
  }
  const go = { tag: "", node_id: "", session_id: "" };
  assert.equal((await dispatch(world, go)).status, 200, "what the Go CLI sends for none");
  const exec = await world.call("POST", "/v1/exec", { token: world.token });
  assertRefused(exec, 404, "not_found");
});

Deno.test("CERT-8: a key that is no ed25519 key is refused", async () => {
  await using world = await startWorld();
  await world.enroll();
  const authority = createCertAuthority({ keys: CA, nextSerial: () => Promise.resolve(1n) });
  const issued = await authority.issueUserCert({
    key: KEY,
    userId: "usr_1",
    userName: "me",
    accountId: "acc_1",
    nodeId: "node_1",
    now: Date.now(),
  });
  const line = authorizedLine(KEY), blob = line.split(" ")[1]!;
  const lines = [
    certificateLine(issued.blob),
    // a certificate under a key's name
    `ssh-ed25519 ${certificateLine(issued.blob).split(" ")[1]}`,
    `ssh-ed25519-cert-v01@openssh.com ${blob}`,
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC",
    `ssh-ed25519 ${blob.slice(0, -4)}`,
    `ssh-ed25519 ${blob}AAAA`,
    `ssh-ed25519  ${blob}`,
    `command="x" ${line}`,
    `${line}\n${line}`,
    "x",
    "",
  ];
  for (const client_pubkey of lines) {
    assertRefused(await dispatch(world, { client_pubkey }), 400, "bad_public_key");
  }
  const noKey = await world.call("POST", "/v1/dispatch", { token: world.token, body: {} });
  assertRefused(noKey, 400, "bad_public_key");
  assert.equal((await dispatch(world, { client_pubkey: `${line} me@box` })).status, 200);
});

Deno.test("CERT-10: a name that two readers could read differently is never certified", async () => {
  await using world = await startWorld();
  const names = [
    "a,b",
    "a b",
    "a\nb",
    "a\0b",
    "*",
    "",
    "me\u0301",
    "\u043ce", // a Cyrillic em
    "x".repeat(64 * 1024),
  ];
  const authority = createCertAuthority({ keys: CA, nextSerial: () => Promise.resolve(1n) });
  for (const name of names) {
    const request = { key: KEY, userId: "u", userName: name, accountId: "a", nodeId: "n", now: 0 };
    await assert.rejects(authority.issueUserCert(request), /principal/);
    await assert.rejects(authority.issueHostCert({ key: KEY, nodeId: name, now: 0 }), /principal/);
  }
  // the database's driver cuts a text at NUL, so such a name does not come out of it
  for (const name of names.filter((name) => !name.includes("\0"))) {
    const { token } = await world.newAccount(name);
    await world.enroll({ token });
    const reply = await dispatch(world, {}, token);
    assertRefused(reply, 500, "internal");
    assert.doesNotMatch(reply.text, /principal|ssh-ed25519-cert/);
  }
});

Deno.test("CERT-29: no two certificates have one serial", async () => {
  await using world = await startWorld();
  await world.enroll();
  const { parseCertificate } = await import("../../../src/ssh/certificate.ts");
  const serials = await Promise.all(Array.from({ length: 200 }, async () => {
    const { body } = await dispatch(world, {});
    return parseCertificate(parseCertificateLine(body.user_cert)).serial;
  }));
  assert.equal(new Set(serials).size, 200);
});

Deno.test("two calls in a row reach the same machine; a beat of another changes nothing", async () => {
  await using world = await startWorld();
  const b = await world.enroll({ name: "b", tags: ["x"] });
  const a = await world.enroll({ name: "a", tags: ["x"] });
  await world.enroll({ name: "0", tags: ["x"], online: false });
  for (let i = 0; i < 3; i++) {
    const again = { token: b.token, body: { node_id: b.id } };
    await world.call("POST", "/v1/nodes/heartbeat", again);
    assert.equal((await dispatch(world, { tag: "x" })).body.node_id, a.id);
  }
});

Deno.test("a refusal says what there is", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const none = await dispatch(world, { tag: "x" });
  assertRefused(none, 404, "node_not_found");
  assert.equal(none.body.error, 'no node matches tag "x"');
  assert.match(none.body.hint, /openbox node token/);
  const a = await world.enroll({ name: "mini", tags: ["gpu"] });
  assert.equal((await dispatch(world, {})).body.node_id, a.id, "the only one");
  const b = await world.enroll({ name: "mini", tags: ["lab"] });
  assert.match((await dispatch(world, { tag: "x" })).body.hint, /gpu, lab/);
  const several = await dispatch(world, {});
  assertRefused(several, 400, "target_required");
  assert.match(several.body.hint, new RegExp(a.id));
  const twins = await dispatch(world, { node_id: "mini" });
  assertRefused(twins, 409, "ambiguous");
  assert.match(twins.body.hint, new RegExp(`${a.id}|${b.id}`));
  assertRefused(await dispatch(world, { tag: "gpu", node_id: "mini" }), 400, "bad_request");
  clock.advance(120_000);
  const offline = await dispatch(world, { tag: "gpu" });
  assertRefused(offline, 503, "node_offline");
  assert.match(offline.body.error, /mini \(since .*, 2 min ago\)/);
});

Deno.test("TOK-11: a target is matched as it stands", async () => {
  await using world = await startWorld();
  await world.enroll({ tags: ["gpu"] });
  for (const tag of ["gp%", "gp_", "GPU", "' or '1'='1", "gpu' --", '"', "gpu\0"]) {
    assertRefused(await dispatch(world, { tag }), 404, "node_not_found");
    assertRefused(await dispatch(world, { node_id: tag }), 404, "node_not_found");
    const listed = await world.call("GET", `/v1/nodes?tag=${encodeURIComponent(tag)}`, {
      token: world.token,
    });
    assert.deepEqual(listed.body.nodes, []);
  }
});

Deno.test("one user's calls are limited, another's go on", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock, env: { OPENBOX_DISPATCH_LIMIT: "2" } });
  const other = await world.newAccount("other");
  await world.enroll();
  await world.enroll({ token: other.token });
  for (let i = 0; i < 4; i++) assert.equal((await dispatch(world, {})).status, 200);
  const reply = await dispatch(world, {});
  assertRefused(reply, 429, "too_many");
  assert.equal(reply.headers.get("retry-after"), "1");
  assert.equal((await dispatch(world, {}, other.token)).status, 200);
  clock.advance(1000);
  assert.equal((await dispatch(world, {})).status, 200);
});
