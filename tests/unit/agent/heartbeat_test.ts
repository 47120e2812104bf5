import assert from "node:assert/strict";
import * as v from "valibot";
import { beat, reportSessions } from "../../../src/agent/heartbeat.ts";
import type { NodeState } from "../../../src/agent/state.ts";
import type { HeldRevocationsAnswer, SignedStatement } from "../../../src/api/revocations.ts";
import type { RevokedEntry } from "../../../src/client/revocation_list.ts";
import { ControlError } from "../../../src/client/control_client.ts";
import type { Revocations } from "../../../src/agent/revocations.ts";
import { type HeartbeatAnswer, HeartbeatRequest } from "../../../src/api/heartbeat.ts";
import { keysFingerprint, signCaChange } from "../../../src/ca/trust.ts";
import { generateCaKeys } from "../../../src/ca/keys.ts";
import { MAX_BODY } from "../../../src/control/request_body.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { startLog } from "../../../src/log.ts";
import type { SessionKey, SessionState } from "../../../src/session/table.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { fakeHost } from "../../fakes/host.ts";
import { aState, CA, hostCertLine, NODE_ID, NOW } from "./world.ts";

const list = (payload: string): SignedStatement => ({ payload, certificate: "c", signature: "s" });

type Answer = HeartbeatAnswer | OpenboxError;

interface World {
  readonly clock: FakeClock;
  readonly requests: HeartbeatRequest[];
  readonly updates: Partial<NodeState>[];
  readonly node: { state: NodeState; clockAheadMs: number | undefined };
  /** Of the next beats, in order; then all is well. */
  readonly answers: ((now: number) => Answer | Promise<Answer>)[];
  /** Moves time by `ms` and lets what is due happen. */
  pass(ms: number): Promise<void>;
  /** What the node holds, and what became of lists that came. */
  readonly revocations: {
    held: { version: number; issuedAt: number } | undefined;
    readonly statement: SignedStatement | undefined;
    /** The lists that came, by their payload; of "bad" nothing is believed. */
    readonly taken: string[];
    readonly revoked: RevokedEntry[];
    /** What the control plane answers to a list that is given back. */
    giveBack(): Promise<HeldRevocationsAnswer>;
  };
  /** What the node has, and what it was told to end. */
  readonly sessions: { states: SessionState[]; readonly ended: SessionKey[]; change(): void };
  readonly ended: Promise<void>;
  readonly stop: AbortController;
  /** Lines of the log. */
  logged(): Promise<string[]>;
}

async function inWorld(body: (world: World) => Promise<void>, random = 0.5): Promise<void> {
  const clock = new FakeClock(NOW), stop = new AbortController(), host = fakeHost({ clock });
  await using log = await startLog(host);
  const requests: HeartbeatRequest[] = [], updates: Partial<NodeState>[] = [];
  const answers: World["answers"] = [];
  const node = {
    state: await aState(),
    clockAheadMs: undefined as number | undefined,
    update(change: Partial<NodeState>) {
      updates.push(change);
      node.state = { ...node.state, ...change };
      return Promise.resolve();
    },
  };
  const sessions = {
    states: [] as SessionState[],
    ended: [] as SessionKey[],
    list: () => sessions.states,
    onChange(handler: () => void) {
      sessions.change = handler;
      return { [Symbol.dispose]() {} };
    },
    change: () => {},
    end(key: SessionKey) {
      sessions.ended.push(key);
      return Promise.resolve(true);
    },
  };
  const revocations: World["revocations"] & Pick<Revocations, "take"> = {
    held: undefined,
    statement: list("held"),
    taken: [],
    revoked: [],
    giveBack: () => Promise.reject(new Error("nobody asked")),
    take({ payload }) {
      if (payload === "bad") return Promise.reject(new OpenboxError("cert_refused", "bad list"));
      revocations.taken.push(payload);
      return Promise.resolve([{ kind: "token", id: payload, issuedBefore: undefined }]);
    },
  };
  const ended = beat({
    clock,
    bootId: "boot_1",
    node,
    addr: () => Promise.resolve("10.0.0.4:7600"),
    random: () => random,
    sessions,
    revocations,
    onRevoked(added) {
      revocations.revoked.push(...added);
      return Promise.resolve();
    },
    control: {
      giveBackRevocations: () => revocations.giveBack(),
      async heartbeat(request) {
        requests.push(request);
        const fine = { server_time: clock.now() / 1000, revocations: [] };
        const answer = await (answers.shift() ?? (() => fine))(clock.now());
        if (answer instanceof OpenboxError) throw answer;
        return answer;
      },
    },
  }, stop.signal);
  ended.catch(() => {});
  // everything here waits for promises only
  const settle = async () => {
    for (let turn = 0; turn < 50; turn++) await undefined;
  };
  await settle();
  await body({
    clock,
    requests,
    updates,
    node,
    answers,
    sessions,
    revocations,
    ended,
    stop,
    async pass(ms) {
      clock.advance(ms);
      await settle();
    },
    async logged() {
      await log.flush();
      return host.err.text().split("\n").filter(Boolean);
    },
  });
  stop.abort();
  await ended.catch(() => {});
  assert.equal(clock.sleeping, 0);
}

const down = () => new OpenboxError("control_unreachable", "Cannot reach the control plane");

Deno.test("an agent beats at once, and every 30 seconds", () =>
  inWorld(async ({ requests, pass, node }) => {
    assert.equal(requests.length, 1);
    const { load, ...first } = requests[0]!;
    assert.deepEqual(first, {
      node_id: NODE_ID,
      addr: "10.0.0.4:7600",
      version: first.version,
      boot_id: "boot_1",
      host_cert_serial: String(node.state.hostCert.serial),
      ca_trusted: { host: keysFingerprint([CA.host]), user: keysFingerprint([CA.user]) },
    });
    assert.equal(load?.length, 3);
    await pass(29_999);
    assert.equal(requests.length, 1);
    await pass(1);
    assert.equal(requests.length, 2);
    await pass(30_000);
    assert.equal(requests.length, 3);
  }));

Deno.test("SEQ-12: the sessions are told with the beat, soon after they changed", () =>
  inWorld(async ({ requests, pass, sessions }) => {
    assert.equal(requests[0]!.sessions, undefined, "nothing to tell");
    const of = { userId: "usr_1", name: "build", isolation: "native" };
    sessions.states = [{ ...of, idleMs: 1500, lastExit: 3, state: "idle" }];
    for (let i = 0; i < 5; i++) sessions.change();
    await pass(2_000);
    assert.equal(requests.length, 2);
    assert.deepEqual(requests[1]!.sessions, [{
      user_id: "usr_1",
      name: "build",
      isolation: "native",
      idle_ms: 1500,
      last_exit: 3,
      state: "idle",
    }]);
    await pass(29_999);
    assert.equal(requests.length, 2);
    await pass(1);
    assert.equal(requests.length, 3);
  }));

Deno.test("SES-14: what the fullest table has, the control plane takes; the oldest losses are left out", () => {
  const states = (count: number, state: SessionState["state"]) =>
    Array.from({ length: count }, (_, i): SessionState => ({
      userId: `usr_${"0".repeat(12)}`,
      name: `${i}`.padEnd(64, "n"),
      isolation: `docker:${"i".repeat(255)}`,
      idleMs: 1_799_999,
      lastExit: 255,
      state,
    }));
  const reports = reportSessions([...states(200, "busy"), ...states(200, "lost")]);
  assert.equal(reports.filter(({ state }) => state === "busy").length, 200);
  assert.deepEqual(reports.at(200)?.name, "199".padEnd(64, "n"), "the last one lost");
  const body = {
    node_id: NODE_ID,
    addr: "a".repeat(255),
    version: "v".repeat(64),
    sessions: reports,
  };
  assert.ok(JSON.stringify(v.parse(HeartbeatRequest, body)).length <= MAX_BODY);
  assert.equal(reportSessions(states(1000, "lost")).length <= 400, true);
});

Deno.test("SES-17: what the control plane says is to end, is ended", () =>
  inWorld(async ({ answers, pass, sessions, clock }) => {
    answers.push(() => ({
      server_time: clock.now() / 1000,
      revocations: [],
      end_sessions: [{ user_id: "usr_1", name: "build" }],
    }));
    await pass(30_000);
    assert.deepEqual(sessions.ended, [{ userId: "usr_1", name: "build" }]);
  }));

Deno.test("beats are spread by a tenth, so that nodes do not beat together", async () => {
  for (const [random, ms] of [[0, 27_000], [1, 33_000]] as const) {
    await inWorld(async ({ requests, pass }) => {
      await pass(ms - 1);
      assert.equal(requests.length, 1);
      await pass(1);
      assert.equal(requests.length, 2);
    }, random);
  }
});

Deno.test("ENR-13: through an hour of silence it backs off to a minute, logs a line a minute, and is back within one", () =>
  inWorld(async ({ requests, answers, pass, logged }) => {
    answers.push(...Array.from({ length: 200 }, () => down));
    const before = requests.length;
    await pass(30_000);
    const times: number[] = [];
    for (let second = 0; second < 3600; second++) {
      const count = requests.length;
      await pass(1000);
      if (requests.length > count) times.push(second);
    }
    const gaps = times.slice(1).map((time, i) => time - times[i]!);
    assert.ok(gaps[0]! <= 3, `${gaps[0]} s`);
    assert.ok(Math.max(...gaps) <= 60 && gaps.at(-1)! >= 50, gaps.join(" "));
    assert.ok(requests.length - before < 80, `${requests.length} tries`);
    const complaints = (await logged()).filter((line) => line.includes("heartbeat failed"));
    assert.ok(complaints.length >= 2 && complaints.length <= 61, `${complaints.length} lines`);

    answers.length = 0;
    const count = requests.length;
    await pass(60_000);
    assert.ok(requests.length > count);
    assert.ok((await logged()).some((line) => line.includes("answers again")));
    await pass(30_000);
    await pass(30_000);
    assert.equal(requests.length, count + 3, "and goes on as before");
  }));

Deno.test("a refused token is no end: it may be a database that comes back", () =>
  inWorld(async ({ answers, requests, pass }) => {
    answers.push(() => new OpenboxError("unauthorized", "unknown token"));
    await pass(30_000);
    await pass(2_000);
    assert.equal(requests.length, 3);
  }));

Deno.test("RUN-24: the answer tells how far this clock is off, to the second", () =>
  inWorld(async ({ answers, node, pass }) => {
    assert.ok(Math.abs(node.clockAheadMs!) <= 1000);
    for (const ahead of [-7_200_000, 180_000]) {
      answers.push((now) => ({ server_time: Math.floor((now - ahead) / 1000), revocations: [] }));
      await pass(30_000);
      assert.ok(Math.abs(node.clockAheadMs! - ahead) <= 1000, `${node.clockAheadMs}`);
    }
  }));

Deno.test("ENR-16: a host certificate that comes with an answer is stored, used and told", () =>
  inWorld(async ({ answers, node, updates, requests, pass }) => {
    const old = node.state.hostCert.serial;
    const host_cert = await hostCertLine(node.state.hostKey);
    answers.push(() => ({ server_time: NOW / 1000, revocations: [], host_cert }));
    await pass(30_000);
    assert.equal(updates.length, 1);
    assert.notEqual(node.state.hostCert.serial, old);
    await pass(30_000);
    assert.equal(requests.at(-1)!.host_cert_serial, String(node.state.hostCert.serial));
  }));

Deno.test("ENR-16: a host certificate of another CA, key or node is not taken, and the beats go on", () =>
  inWorld(async ({ answers, node, updates, requests, pass }) => {
    const { hostKey } = node.state;
    const bad = [
      await hostCertLine(hostKey, { keys: generateCaKeys() }),
      await hostCertLine(hostKey, { nodeId: "node_00000000000000bb" }),
      await hostCertLine(),
      "nonsense",
    ];
    for (const host_cert of bad) {
      answers.push(() => ({ server_time: NOW / 1000, revocations: [], host_cert }));
      await pass(30_000);
    }
    assert.deepEqual(updates, []);
    const count = requests.length;
    await pass(60_000);
    assert.ok(requests.length > count);
  }));

Deno.test("ENR-7: the word that the node was removed ends the beats", () =>
  inWorld(async ({ answers, ended, pass, requests }) => {
    answers.push(() => new OpenboxError("node_deleted", "removed"));
    await pass(30_000);
    await assert.rejects(ended, { code: "node_deleted" });
    const count = requests.length;
    await pass(600_000);
    assert.equal(requests.length, count);
  }));

Deno.test("a stop ends the beats at once, also in the middle of one", () =>
  inWorld(async ({ answers, ended, stop, pass }) => {
    const never = Promise.withResolvers<HeartbeatAnswer>();
    answers.push(() => never.promise);
    await pass(30_000);
    stop.abort();
    never.reject(new Error("aborted"));
    await ended;
  }));

Deno.test("ROT-1: a node follows a rotation, keeps it, and says so at once", () =>
  inWorld(async ({ requests, answers, updates, pass, node }) => {
    const next = generateCaKeys();
    const change = { seq: 1, at: NOW };
    const both = [
      signCaChange({ ...change, kind: "user", from: [CA.user], to: [CA.user, next.user] }, CA.user),
      signCaChange({ ...change, kind: "host", from: [CA.host], to: [CA.host, next.host] }, CA.host),
    ];
    const fine = { server_time: NOW / 1000, revocations: [] };
    const { nodeId, hostKey } = node.state;
    const keys = { host: next.host, user: CA.user };
    const host_cert = await hostCertLine(hostKey, { nodeId, keys });
    answers.push(() => ({ ...fine, ca_rotations: both, host_cert }));
    await pass(30_000);
    assert.equal(requests.length, 3, "one more, in the same moment");
    assert.deepEqual(requests.at(-1)!.ca_trusted, {
      host: keysFingerprint([CA.host, next.host]),
      user: keysFingerprint([CA.user, next.user]),
    });
    assert.equal(requests.at(-1)!.host_cert_serial, String(node.state.hostCert.serial));
    assert.deepEqual(updates.map((change) => Object.keys(change)), [["ca"], ["hostCert"]]);
    // what it has followed it does not follow again
    answers.push(() => ({ ...fine, ca_rotations: both }));
    await pass(30_000);
    assert.equal(requests.length, 4);
  }));

Deno.test("CERT-26: what no trusted key said changes nothing at a node, and is no reason to beat more", () =>
  inWorld(async ({ requests, answers, updates, pass }) => {
    const evil = generateCaKeys();
    const forged = signCaChange(
      { kind: "user", seq: 1, from: [evil.user], to: [evil.user], at: NOW },
      evil.user,
    );
    answers.push(() => ({
      server_time: NOW / 1000,
      revocations: [],
      ca_rotations: [forged, "x", "a.b"],
    }));
    await pass(30_000);
    assert.deepEqual(updates, []);
    assert.equal(requests.length, 2);
  }));

Deno.test("a control plane that changes something with each answer does not make an agent busy", () =>
  inWorld(async ({ requests, answers, pass, node }) => {
    for (let i = 0; i < 20; i++) {
      const host_cert = await hostCertLine(node.state.hostKey);
      answers.push(() => ({ server_time: NOW / 1000, revocations: [], host_cert }));
    }
    await pass(30_000);
    assert.equal(requests.length, 1 + 4);
    await pass(29_000);
    assert.equal(requests.length, 1 + 4);
  }));

Deno.test("CERT-16: a beat names the list that is held, and what comes is believed and carried out", () =>
  inWorld(async ({ answers, requests, revocations, pass, clock }) => {
    assert.equal(requests[0]!.revocations_version, undefined, "none is held");
    revocations.held = { version: 7, issuedAt: NOW };
    answers.push(() => ({
      server_time: clock.now() / 1000,
      revocations: [],
      revocation_list: list("new"),
    }));
    await pass(30_000);
    const { revocations_version, revocations_issued_at } = requests[1]!;
    assert.deepEqual([revocations_version, revocations_issued_at], [7, NOW / 1000]);
    assert.deepEqual(revocations.taken, ["new"]);
    assert.deepEqual(revocations.revoked.map(({ id }) => id), ["new"]);
  }));

Deno.test("CERT-17: a list that cannot be believed is said, and the beats go on", () =>
  inWorld(async ({ answers, requests, revocations, pass, logged, clock }) => {
    answers.push(() => ({
      server_time: clock.now() / 1000,
      revocations: [],
      revocation_list: list("bad"),
    }));
    await pass(30_000);
    assert.deepEqual(revocations.taken, []);
    assert.ok((await logged()).some((line) => line.includes("bad list")));
    await pass(2_000);
    assert.equal(requests.length, 3, "it asks again soon");
  }));

const forgot = (now: number) => ({
  server_time: now / 1000,
  revocations: [],
  send_revocations: true,
});

Deno.test("STO-8: a control plane that forgot the list gets it back, and its answer is believed", () =>
  inWorld(async ({ answers, requests, revocations, pass }) => {
    revocations.held = { version: 7, issuedAt: NOW };
    revocations.giveBack = () => Promise.resolve({ revocation_list: list("merged") });
    answers.push(forgot);
    await pass(30_000);
    assert.deepEqual(revocations.taken, ["merged"]);
    assert.equal(requests.length, 2);
  }));

Deno.test("STO-8: where it does not take it, the node asks as one that holds none, and judges what comes", () =>
  inWorld(async ({ answers, requests, revocations, pass, clock }) => {
    revocations.held = { version: 7, issuedAt: NOW };
    revocations.giveBack = () =>
      Promise.reject(new ControlError("cert_refused", "by another CA", { status: 403 }));
    answers.push(forgot, () => ({
      server_time: clock.now() / 1000,
      revocations: [],
      revocation_list: list("its own"),
    }));
    await pass(30_000);
    assert.deepEqual(requests.map((one) => one.revocations_version), [undefined, 7, undefined]);
    assert.deepEqual(revocations.taken, ["its own"]);
  }));
