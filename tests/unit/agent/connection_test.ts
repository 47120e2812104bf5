import assert from "node:assert/strict";
import { authenticate, formatSpan } from "../../../src/agent/connection.ts";
import type { NodeState } from "../../../src/agent/state.ts";
import { generateCaKeys } from "../../../src/ca/keys.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { aState, NOW, userCert } from "./world.ts";

const MINUTE = 60_000, HOUR = 60 * MINUTE;

async function decide(
  certificate: Uint8Array,
  options: {
    /** How far the node's clock is ahead, and whether a heartbeat told it. */
    aheadMs?: number;
    told?: boolean;
    username?: string;
    state?: Partial<NodeState>;
  } = {},
) {
  const { aheadMs = 0, told = true, username = "me" } = options;
  return authenticate({ username, certificate, remoteAddress: "10.0.0.9" }, {
    clock: new FakeClock(NOW + aheadMs),
    node: { state: await aState(options.state), clockAheadMs: told ? aheadMs : undefined },
    revocations: { refusal: () => undefined },
  });
}

Deno.test("CERT-1: a good certificate is a proof of who is calling", async () => {
  const decision = await decide(await userCert());
  assert.ok(decision.accept);
  assert.deepEqual([decision.proof.userName, decision.proof.userId], ["me", "usr_000000000001"]);
});

Deno.test("CERT-2, CERT-3: another account's or node's certificate is told which it is", async () => {
  const cases = [
    [{ accountId: "acc_other" }, "cert_wrong_account"],
    [{ nodeId: "node_00000000000000bb" }, "cert_wrong_node"],
    [{ userName: "you" }, "cert_wrong_principal"],
  ] as const;
  for (const [change, code] of cases) {
    const decision = await decide(await userCert(change));
    assert.ok(!decision.accept);
    assert.match(decision.banner!, new RegExp(`^openbox: ${code}: [^\\n]+$`));
  }
});

Deno.test("whoever was not certified by our CA learns nothing", async () => {
  for (const certificate of [await userCert({}, generateCaKeys()), new Uint8Array(10)]) {
    const decision = await decide(certificate);
    assert.ok(!decision.accept);
    assert.equal(decision.banner, undefined);
  }
});

Deno.test("RUN-24: three minutes off are fine either way", async () => {
  for (const aheadMs of [-3 * MINUTE, 3 * MINUTE]) {
    assert.ok((await decide(await userCert(), { aheadMs })).accept, `${aheadMs}`);
  }
});

Deno.test("RUN-24: two hours off are refused as clock_skew, with how far and which way", async () => {
  for (
    const [aheadMs, text] of [[2 * HOUR, "2 h 0 min ahead of"], [
      -2 * HOUR,
      "2 h 0 min behind",
    ]] as const
  ) {
    const decision = await decide(await userCert(), { aheadMs });
    assert.ok(!decision.accept);
    assert.equal(
      decision.banner,
      `openbox: clock_skew: The node's clock is ${text} the control plane's`,
    );
  }
});

Deno.test("RUN-24: before the first heartbeat it says what it knows", async () => {
  const ahead = await decide(await userCert(), { aheadMs: 2 * HOUR, told: false });
  assert.match(ahead.accept ? "" : ahead.banner!, /^openbox: cert_expired: .*ended 6900 s ago/);
  const behind = await decide(await userCert(), { aheadMs: -2 * HOUR, told: false });
  assert.match(behind.accept ? "" : behind.banner!, /^openbox: clock_skew: .*only in 6900 s/);
});

Deno.test("CERT-11: one that has ended is expired, not a matter of clocks", async () => {
  const decision = await decide(await userCert({ now: NOW - HOUR }), { aheadMs: 1000 });
  assert.match(decision.accept ? "" : decision.banner!, /^openbox: cert_expired:/);
});

Deno.test("ENR-7: a node that was removed believes nobody, and tells those it would have believed", async () => {
  const decision = await decide(await userCert(), { state: { removed: true } });
  assert.match(decision.accept ? "" : decision.banner!, /^openbox: node_deleted: .*removed/);
  const stranger = await decide(await userCert({}, generateCaKeys()), { state: { removed: true } });
  assert.equal(stranger.accept ? "" : stranger.banner, undefined);
});

Deno.test("a span of time reads as people say it", () => {
  const cases = [
    [40_400, "40 s"],
    [365_000, "6 min 5 s"],
    [7_200_000, "2 h 0 min"],
    [400 * 24 * HOUR, "400 days"],
  ] as const;
  for (const [ms, text] of cases) assert.equal(formatSpan(ms), text);
});
