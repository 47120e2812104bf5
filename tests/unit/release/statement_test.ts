import assert from "node:assert/strict";
import { text, utf8 } from "../../../src/bytes.ts";
import { parseReleaseKeys } from "../../../src/release/keys.ts";
import {
  parseStatement,
  SIGNATURE,
  STATEMENT,
  verifyStatement,
  writeStatement,
} from "../../../src/release/statement.ts";
import { generateKey } from "../../../src/ssh/key.ts";
import { COMMIT, keyLine, makeRelease } from "../../fixtures/release.ts";

const key = generateKey(), now = Date.UTC(2027, 0, 31, 23, 59);
const keys = parseReleaseKeys(keyLine(key, "2027-01-31"));
const release = makeRelease({ version: "1.2.3", key });
const statement = release.get(STATEMENT)!, signature = text(release.get(SIGNATURE)!);
const invalid = { code: "signature_invalid" };

Deno.test("a statement is what was written, and is believed with its signature", () => {
  const read = verifyStatement(statement, signature, { keys, now });
  assert.deepEqual([read.version, read.commit], ["1.2.3", COMMIT]);
  assert.equal(read.files.size, 4);
  assert.equal(writeStatement(read), text(statement));
});

Deno.test("INS-2: a statement is refused with another signature, changed, or for no key", () => {
  const other = makeRelease({ version: "1.2.4", key });
  for (
    const [bytes, sig, believed] of [
      [statement, text(other.get(SIGNATURE)!), keys],
      [other.get(STATEMENT)!, signature, keys],
      [statement, "", keys],
      [statement, signature, parseReleaseKeys(keyLine(generateKey()))],
      [statement, signature, []],
      [utf8(text(statement) + "\n"), signature, keys],
    ] as const
  ) {
    assert.throws(() => verifyStatement(bytes, sig, { keys: believed, now }), invalid);
  }
});

Deno.test("INS-2: a release key is believed through its last day, and not on the next", () => {
  const tomorrow = now + 60_000;
  assert.throws(
    () => verifyStatement(statement, signature, { keys, now: tomorrow }),
    /was good until 2027-01-31/,
  );
  const renewed = parseReleaseKeys(keyLine(key, "2027-01-31") + keyLine(generateKey()));
  assert.throws(() => verifyStatement(statement, signature, { keys: renewed, now: tomorrow }));
});

Deno.test("a statement is read in its one form only", () => {
  const good = `openbox-release-v1\nversion 1.2.3\ncommit ${COMMIT}\nfile a.gz 5 ${
    "0".repeat(64)
  }\n`;
  assert.equal(parseStatement(good).files.get("a.gz")!.bytes, 5);
  for (
    const [from, to] of [
      ["release-v1", "release-v2"],
      ["version 1.2.3", "version 1.2"],
      ["version 1.2.3", "version 1.2.3 4"],
      ["version 1.2.3", "version 1.2.3\nversion 1.2.4"],
      ["version 1.2.3\n", ""],
      [`commit ${COMMIT}\n`, ""],
      [COMMIT, COMMIT.slice(1)],
      ["a.gz", "../a.gz"],
      ["a.gz", "a gz"],
      [" 5 ", " -5 "],
      [" 5 ", " 05 "],
      ["0000\n", "000\n"],
      ["0000\n", "0000"],
      ["file ", "File "],
      [`file a.gz 5 ${"0".repeat(64)}\n`, `file a.gz 5 ${"0".repeat(64)}\n`.repeat(2)],
      ["\n", "\r\n"],
    ] as const
  ) {
    assert.throws(() => parseStatement(good.replace(from, to)), invalid, `${from} → ${to}`);
  }
});

Deno.test("the list of release keys is comments, and keys with a day", async () => {
  const list = new URL("../../../src/release/release_keys.txt", import.meta.url);
  parseReleaseKeys(await Deno.readTextFile(list));
  assert.deepEqual(parseReleaseKeys("# none\n\n"), []);
  const line = keyLine(key);
  for (
    const bad of [
      line.slice(11),
      line.replace("2999-12-31", "2999-02-30"),
      line.replace("2999-12-31", "tomorrow"),
      line.replace("ssh-ed25519", "ssh-rsa"),
      line.replace(" ssh", "  ssh"),
      ` ${line}`,
    ]
  ) {
    assert.throws(() => parseReleaseKeys(bad), { name: "MalformedError" }, bad);
  }
});
