/** Chaos: `deno task chaos [--rounds N] [NAME…]` prints a line a nemesis, and ends with 1 where an invariant broke. */
import { NEMESES } from "./nemeses.ts";
import { runRounds } from "./rounds.ts";

const args = [...Deno.args];
const at = args.indexOf("--rounds");
const rounds = at < 0 ? 100 : Number(args.splice(at, 2)[1]);
const wanted = args.length > 0 ? NEMESES.filter(({ name }) => args.includes(name)) : NEMESES;
const unknown = args.filter((name) => !NEMESES.some((nemesis) => nemesis.name === name));
if (unknown.length > 0 || !(rounds >= 1)) {
  throw new Error(`deno task chaos [--rounds N] [${NEMESES.map(({ name }) => name).join(" | ")}]…`);
}

const say = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(text));

let broken = 0;
for (const nemesis of wanted) {
  const startedAt = performance.now();
  const progress = Deno.stdout.isTerminal();
  const report = await runRounds(nemesis, { rounds }, (round) => {
    if (progress) say(`\r${nemesis.name} ${round}/${rounds} `);
  });
  const { runs, outcomes, acknowledged, failures, slowestFailure, slowestHeal, violations } =
    report;
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  say(
    `${progress ? "\r" : ""}${violations.length === 0 ? "held " : "BROKE"} ` +
      `${nemesis.name.padEnd(14)} (${nemesis.cases}) ${report.rounds} rounds in ${seconds} s: ` +
      `${runs} runs ${JSON.stringify(outcomes)}, ${acknowledged} acknowledged, ` +
      `failed ${JSON.stringify(failures)} (slowest ${Math.round(slowestFailure)} ms), ` +
      `whole again within ${Math.round(slowestHeal)} ms\n`,
  );
  for (const { invariant, what } of violations.slice(0, 20)) say(`  ${invariant}: ${what}\n`);
  if (violations.length > 0) say(report.logs);
  broken += violations.length;
}
Deno.exit(broken > 0 ? 1 : 0);
