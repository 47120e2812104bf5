import assert from "node:assert/strict";
import {
  Admission,
  type AdmissionLimits,
  type Candidate,
  sourceOf,
} from "../../../src/ssh/admission.ts";

const LIMITS: AdmissionLimits = {
  slots: 3,
  slotsPerSource: 2,
  waiting: 3,
  waitingPerSource: 2,
  silent: 4,
};

class Peer implements Candidate {
  readonly source: string;
  state = "new";
  constructor(source: string) {
    this.source = source;
  }
  begin(): void {
    this.state = "begun";
  }
  turnAway(): void {
    this.state = "away";
  }
}

function arrive(admission: Admission, ...sources: string[]): Peer[] {
  return sources.map((source) => {
    const peer = new Peer(source);
    admission.arrive(peer);
    return peer;
  });
}

function speak(admission: Admission, ...sources: string[]): Peer[] {
  return sources.map((source) => {
    const [peer] = arrive(admission, source);
    admission.speak(peer!);
    return peer!;
  });
}

const states = (peers: readonly Peer[]) => peers.map(({ state }) => state);

Deno.test("one source fills its own slots and its own place in line, no more", () => {
  const admission = new Admission(LIMITS);
  assert.deepEqual(states(speak(admission, "a", "a", "a", "a", "a")), [
    "begun",
    "begun",
    "new",
    "new",
    "away",
  ]);
  assert.deepEqual(states(speak(admission, "b")), ["begun"]);
});

Deno.test("SSH-2: when a slot comes free, the first in line whose source may have one gets it", () => {
  const admission = new Admission(LIMITS);
  const [a1, a2, a3] = speak(admission, "a", "a", "a");
  const [b1, b2] = speak(admission, "b", "b");
  assert.deepEqual(states([a1!, a2!, a3!, b1!, b2!]), ["begun", "begun", "new", "begun", "new"]);
  admission.leave(b1!); // a has its two slots: the place goes to b2, though a3 came first
  assert.deepEqual(states([a3!, b2!]), ["new", "begun"]);
  admission.leave(a1!);
  assert.equal(a3!.state, "begun");
});

Deno.test("the line has an end in all", () => {
  const admission = new Admission(LIMITS);
  const peers = speak(admission, "a", "a", "b", "c", "d", "e", "f");
  assert.deepEqual(states(peers), ["begun", "begun", "begun", "new", "new", "new", "away"]);
});

Deno.test("SSH-1: silent connections hold no slot; the oldest of them makes room", () => {
  const admission = new Admission(LIMITS);
  const silent = arrive(admission, "a", "a", "a", "a", "a", "a");
  assert.deepEqual(states(silent), ["away", "away", "new", "new", "new", "new"]);
  assert.deepEqual(states(speak(admission, "a")), ["begun"]);
});

Deno.test("who left is forgotten, and leaving twice gives nothing twice", () => {
  const admission = new Admission(LIMITS);
  const peers = speak(admission, "a", "a", "a");
  for (const peer of [...peers, ...peers]) admission.leave(peer);
  assert.equal(admission.size, 0);
  assert.deepEqual(states(speak(admission, "a", "a")), ["begun", "begun"]);
});

Deno.test("a source is an IPv4 address or an IPv6 /64", () => {
  const cases: [string, string][] = [
    ["10.0.0.1", "10.0.0.1"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
  ];
  for (const [address, source] of cases) assert.equal(sourceOf(address), source);
});
