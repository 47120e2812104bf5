/** CERT-19: mutations of good certificates against the agent's rules. A failure prints its seed. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { CertificateRefused, verifyHostCert, verifyUserCert } from "../../src/ca/verifier.ts";
import { signCertificate } from "../../src/ssh/certificate.ts";
import { generateKey } from "../../src/ssh/key.ts";
import { usedMemory } from "../fixtures/memory.ts";
import { randomFrom, seeds } from "./seeds.ts";

const ca = generateKey(), key = generateKey();
const NOW = Date.UTC(2026, 0, 1), SECONDS = BigInt(NOW / 1000);
const NODE = "node_0123456789abcdef";
const common = { key, serial: 99n, validAfter: SECONDS - 300n, validBefore: SECONDS + 300n };
const user = signCertificate({
  ...common,
  kind: "user",
  keyId: "usr_000000000001",
  principals: ["me", "other"],
  critical: new Map([["openbox-account@openbox.io", "acc_1"], ["openbox-node@openbox.io", NODE], [
    "source-address",
    "10.0.0.0/8",
  ]]),
  extensions: new Map([["permit-pty", ""]]),
}, ca);
const host = signCertificate({
  ...common,
  kind: "host",
  keyId: NODE,
  principals: [NODE],
  critical: new Map(),
  extensions: new Map(),
}, ca);

const verify = {
  user: (blob: Uint8Array) =>
    verifyUserCert(blob, {
      authorities: [ca],
      username: "me",
      accountId: "acc_1",
      nodeId: NODE,
      now: NOW,
      remoteAddress: "10.0.0.1",
    }),
  host: (blob: Uint8Array) => verifyHostCert(blob, { authorities: [ca], nodeId: NODE, now: NOW }),
};
const ORIGINAL = { user, host };

const SLOW_MS = 5;

function mustRefuse(kind: "user" | "host", blob: Uint8Array, what: string): void {
  if (Buffer.from(blob).equals(ORIGINAL[kind])) return;
  // on a busy machine anything may take long once; what is slow by itself is slow every time
  for (let tries = 1;; tries++) {
    const start = performance.now();
    const error = refusal(() => verify[kind](blob));
    const took = performance.now() - start;
    assert.ok(error instanceof CertificateRefused, `${what}: ${error ?? "accepted"}`);
    if (took < SLOW_MS) return;
    assert.ok(tries < 10, `${what}: refused only after ${took} ms`);
  }
}

function refusal(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
}

for (const kind of ["user", "host"] as const) {
  const good = ORIGINAL[kind];

  Deno.test(`CERT-19: a ${kind} certificate with any one bit changed is refused`, () => {
    verify[kind](good);
    for (let at = 0; at < good.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const changed = Uint8Array.from(good);
        changed[at]! ^= 1 << bit;
        mustRefuse(kind, changed, `byte ${at} bit ${bit}`);
      }
    }
  });

  Deno.test(`CERT-19: a ${kind} certificate cut at any place, or lengthened, is refused`, () => {
    for (let length = 0; length < good.length; length++) {
      mustRefuse(kind, good.subarray(0, length), `cut at ${length}`);
    }
    for (const more of [1, 4, 1000]) {
      mustRefuse(kind, Buffer.concat([good, Buffer.alloc(more)]), `${more} more`);
    }
  });

  Deno.test(`CERT-19: a ${kind} certificate with any length field off by one, 0 or 2^32-1 is refused`, () => {
    for (let at = 0; at + 4 <= good.length; at++) {
      const length = Buffer.from(good).readUInt32BE(at);
      if (length > good.length - at - 4) continue; // no length field
      for (const wrong of [length + 1, length - 1, 0, 0xffffffff]) {
        if (wrong < 0 || wrong === length) continue;
        const changed = Buffer.from(good);
        changed.writeUInt32BE(wrong, at);
        mustRefuse(kind, changed, `length at ${at}: ${wrong}`);
      }
    }
  });
}

Deno.test("CERT-19: 100,000 random mutations are refused, each in time, without growth", async () => {
  const before = await usedMemory();
  let count = 0;
  for (const seed of seeds("certificate", 8)) {
    const random = randomFrom(seed);
    for (let i = 0; i < 12_500; i++, count++) {
      const kind = random(2) === 0 ? "user" as const : "host" as const;
      mustRefuse(kind, mutate(ORIGINAL[kind], random), `seed ${seed}, mutation ${i}`);
    }
  }
  assert.equal(count, 100_000);
  const grown = await usedMemory() - before;
  assert.ok(grown < 2 ** 20, `grew by ${grown} bytes`);
});

/** One to four changes: a byte, a run, a cut, a repeat, a swap. */
function mutate(good: Uint8Array, random: (below: number) => number): Uint8Array {
  let bytes: Uint8Array = Uint8Array.from(good);
  for (let changes = 1 + random(4); changes > 0; changes--) {
    const at = random(bytes.length), length = 1 + random(16);
    switch (random(5)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        for (let i = at; i < Math.min(at + length, bytes.length); i++) bytes[i] = random(256);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 3:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          bytes.subarray(at, at + length),
          bytes.subarray(at),
        ]);
        break;
      default: {
        const other = random(bytes.length);
        [bytes[at], bytes[other]] = [bytes[other]!, bytes[at]!];
      }
    }
    if (bytes.length === 0) return bytes;
  }
  return bytes;
}
