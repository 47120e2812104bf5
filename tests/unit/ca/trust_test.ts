import assert from "node:assert/strict";
import { toBase64Url, utf8 } from "../../../src/bytes.ts";
import {
  type CaChange,
  type CaKind,
  type CaTrust,
  followCa,
  namedKeys,
  readCaStatement,
  signCaChange,
  trustPair,
} from "../../../src/ca/trust.ts";
import { authorizedLine, generateKey, type PrivateKey, signBytes } from "../../../src/ssh/key.ts";

const A = generateKey(), B = generateKey(), C = generateKey(), HOST = generateKey();
const START: CaTrust = trustPair({ host: HOST, user: A });

function change(
  seq: number,
  from: readonly PrivateKey[],
  to: readonly PrivateKey[],
  kind: CaKind = "user",
): CaChange {
  return { kind, seq, from, to, at: Date.UTC(2026, 0, seq) };
}
const said = (by: PrivateKey, ...args: Parameters<typeof change>): string =>
  signCaChange(change(...args), by);

/** Signed by whoever wants to, without the check that an honest signer makes. */
function forged(by: PrivateKey, fields: CaChange, domain = "openbox-ca-rotation-v1\0"): string {
  const payload = utf8(JSON.stringify({
    ...fields,
    from: fields.from.map((key) => authorizedLine(key)),
    to: fields.to.map((key) => authorizedLine(key)),
  }));
  const signed = new Uint8Array([...utf8(domain), ...payload]);
  return `${toBase64Url(payload)}.${toBase64Url(signBytes(signed, by))}`;
}

const lines = (trust: CaTrust, kind: CaKind = "user"): string[] =>
  trust[kind].keys.map((key) => authorizedLine(key));
const are = (...keys: PrivateKey[]): string[] => keys.map((key) => authorizedLine(key));

const INIT = said(A, 1, [A], [A, B]), FINISH = said(B, 3, [A, B], [B]);

Deno.test("ROT-1: trust follows a rotation from the first key to the next, step by step or at once", () => {
  const both = followCa(START, [INIT]);
  assert.deepEqual(lines(both), are(A, B));
  assert.deepEqual(lines(followCa(both, [INIT, FINISH])), are(B));
  for (const chain of [[INIT, FINISH], [FINISH, INIT]]) {
    const end = followCa(START, chain);
    assert.deepEqual(lines(end), are(B));
    assert.equal(end.user.seq, 3);
    assert.equal(end.host, START.host, "the other kind stays");
  }
  const later = [INIT, FINISH, said(B, 4, [B], [B, C]), said(C, 6, [B, C], [C])];
  assert.deepEqual(lines(followCa(START, later)), are(C), "after years, from the oldest pin");
  assert.deepEqual(lines(followCa(trustPair({ host: HOST, user: B }), later)), are(C));
  const there = followCa(START, later);
  assert.equal(followCa(there, later), there, "nothing new is the same");
});

Deno.test("ROT-5: the host CA and the user CA are followed apart", () => {
  const next = generateKey();
  const chain = [INIT, said(HOST, 1, [HOST], [next], "host")];
  const trust = followCa(START, chain);
  assert.deepEqual(lines(trust), are(A, B));
  assert.deepEqual(lines(trust, "host"), are(next));
});

Deno.test("CERT-26: a change that no trusted key signed is not followed", () => {
  const evil = generateKey();
  const bad: Record<string, string> = {
    "by the new key only": forged(B, change(1, [A], [A, B])),
    "by a stranger": forged(evil, change(1, [A], [evil])),
    "by the other kind's key": forged(HOST, change(1, [A], [A, HOST])),
    "of the other kind": forged(A, change(1, [A], [A, B], "host")),
    "for another pair": forged(C, change(1, [C], [C, B])),
    "of another pair, by ours": forged(A, change(1, [C], [A, B])),
    "over another domain": forged(A, change(1, [A], [A, B]), "openbox-revocations-v1\0"),
    "over no domain": forged(A, change(1, [A], [A, B]), ""),
    "to nobody": forged(A, change(1, [A], [])),
    "to too many": forged(A, change(1, [A], [A, B, C, evil])),
    "with the number 0": forged(A, change(0, [A], [A, B])),
    "with half a number": forged(A, change(1.5, [A], [A, B])),
    "of no kind": forged(A, change(1, [A], [A, B], "both" as CaKind)),
  };
  for (const [what, statement] of Object.entries(bad)) {
    assert.equal(followCa(START, [statement]), START, what);
  }
  assert.throws(() => said(B, 1, [A], [A, B]), TypeError, "an honest signer does not even try");
});

Deno.test("CERT-26: no single changed character of a statement is followed", () => {
  for (let i = 0; i < INIT.length; i++) {
    const other = INIT[i] === "A" ? "B" : "A";
    const text = INIT.slice(0, i) + other + INIT.slice(i + 1);
    assert.equal(followCa(START, [text]), START, `at ${i}`);
  }
  for (const text of ["", ".", INIT.slice(0, -1), `${INIT}=`, `${INIT}\n`, INIT.replace(".", "")]) {
    assert.equal(readCaStatement(text), undefined);
    assert.equal(followCa(START, [text]), START);
  }
});

Deno.test("ROT-2: after a rollback the key that was to come is not believed, and its statement not again", () => {
  const back = said(A, 2, [A, B], [A]);
  const rolled = followCa(START, [INIT, back]);
  assert.deepEqual(lines(rolled), are(A));
  assert.equal(rolled.user.seq, 2);
  assert.equal(followCa(rolled, [INIT]), rolled, "replayed");
  assert.equal(followCa(rolled, [FINISH]), rolled, "what the dropped key signed");
  assert.equal(followCa(rolled, [INIT, FINISH]), rolled, "both");
  assert.equal(followCa(rolled, [forged(B, change(9, [A], [B]))]), rolled, "anew");
  const third = followCa(rolled, [INIT, back, said(A, 3, [A], [A, C]), said(C, 5, [A, C], [C])]);
  assert.deepEqual(lines(third), are(C), "the next rotation is another one");
});

Deno.test("CERT-26: beyond a gap nothing is followed", () => {
  const chain = [said(B, 3, [A, B], [B]), said(B, 4, [B], [B, C])];
  assert.equal(followCa(START, chain), START);
  const both = followCa(START, [INIT, said(B, 4, [B], [B, C])]);
  assert.deepEqual(lines(both), are(A, B), "as far as the chain holds");
});

Deno.test("ROT-4: a key that was dropped at once is not believed again, whatever it signs", () => {
  const trust = followCa(START, [said(A, 1, [A], [C])]);
  assert.deepEqual(lines(trust), are(C));
  for (const seq of [1, 2, 99]) {
    assert.equal(followCa(trust, [forged(A, change(seq, [A], [A, B]))]), trust);
    assert.equal(followCa(trust, [forged(A, change(seq, [C], [A]))]), trust);
  }
});

Deno.test("a pair that was pinned once is among the keys that the chain names", () => {
  assert.deepEqual(
    namedKeys("user", [INIT, FINISH, said(B, 4, [B], [B, C])]).map((key) => authorizedLine(key)),
    are(A, B, C),
  );
  assert.deepEqual(namedKeys("host", [INIT, FINISH]), []);
});
