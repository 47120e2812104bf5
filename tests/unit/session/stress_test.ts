import assert from "node:assert/strict";
import { utf8 } from "../../../src/bytes.ts";
import { requireComponent } from "../../fixtures/component.ts";
import { finish, openNspawnSession, openSession, SHELLS, type TestSession } from "./world.ts";

const COMMANDS = 300;

/** mulberry32: the same sizes and codes at each run. */
function random(seed: number) {
  return (below: number) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

function stress(
  title: string,
  seed: number,
  count: number,
  needs: { ignore: boolean },
  open: () => Promise<TestSession>,
) {
  const name = `${title}, seed ${seed}: ${count} commands of random sizes and codes`;
  Deno.test(name, needs, async () => {
    await using session = await open();
    const next = random(seed);
    for (let i = 0; i < count; i++) {
      const size = next(3) === 0 ? next(300_000) : next(200), errors = next(500), code = next(256);
      const input = "i".repeat(next(2) * next(20_000));
      const job = i % 5 === 0 ? "{ sleep 1; echo late; echo late >&2; } & " : "";
      const line = `${job}head -c ${size} /dev/zero | tr '\\000' o; printf '%${errors}s' '' >&2; ` +
        `wc -c >&2; (exit ${code})`;
      const ran = await finish(await session.shell.run(utf8(line)), input);
      const said = `${" ".repeat(errors === 0 ? 0 : errors)}${input.length}`;
      assert.equal(ran.out.length, size, `size of ${i}`);
      assert.equal(ran.out.replaceAll("o", ""), "", `content of ${i}`);
      assert.equal(ran.err.trim(), said.trim(), `errors of ${i}`);
      assert.equal(ran.code, code, `code of ${i}`);
    }
  });
}

for (const [seed, program] of [...SHELLS, "bash" as const].entries()) {
  const needs = requireComponent(program, "mkfifo");
  stress(`SEQ-7, SEQ-8: ${program}`, seed, COMMANDS, needs, () => openSession(program));
}
for (const [seed, sh] of (["busybox", "bash"] as const).entries()) {
  const needs = requireComponent("systemd-nspawn", sh, "mkfifo", "linux-root");
  const title = `ISO-2, SEQ-7, SEQ-8: ${sh} in a container`;
  stress(title, seed, COMMANDS / 3, needs, () => openNspawnSession(sh));
}
