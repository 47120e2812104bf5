/**
 * Chaos: `deno task chaos [--rounds N] [NAME…]` prints a line a nemesis, and ends with 1 where an invariant
 * broke. `two-controls [--minutes N]` is asked for by name: it takes its ten minutes.
 */
import { NEMESES } from "./nemeses.ts";
import { runRounds } from "./rounds.ts";
import { twoControls } from "./two_controls.ts";

const TWO_CONTROLS = "two-controls";

const args = [...Deno.args];
const rounds = take("--rounds", 100), minutes = take("--minutes", 10);
const withTwo = args.includes(TWO_CONTROLS);
if (withTwo) args.splice(args.indexOf(TWO_CONTROLS), 1);
const wanted = args.length > 0 || withTwo
  ? NEMESES.filter(({ name }) => args.includes(name))
  : NEMESES;
const unknown = args.filter((name) => !NEMESES.some((nemesis) => nemesis.name === name));
if (unknown.length > 0 || !(rounds >= 1) || !(minutes > 0)) {
  const names = [...NEMESES.map(({ name }) => name), TWO_CONTROLS].join(" | ");
  throw new Error(`deno task chaos [--rounds N] [--minutes N] [${names}]…`);
}

const say = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(text));

let broken = 0;
for (const nemesis of wanted) {
  const startedAt = performance.now();
  const progress = Deno.stdout.isTerminal();
  const report = await runRounds(nemesis, { rounds }, (round) => {
    if (progress) say(`\r${nemesis.name} ${round}/${rounds} `);
  });
  const {
    runs,
    outcomes,
    acknowledged,
    revoked,
    failures,
    slowestFailure,
    slowestHeal,
    violations,
  } = report;
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  say(
    `${progress ? "\r" : ""}${violations.length === 0 ? "held " : "BROKE"} ` +
      `${nemesis.name.padEnd(14)} (${nemesis.cases}) ${report.rounds} rounds in ${seconds} s: ` +
      `${runs} runs ${
        JSON.stringify(outcomes)
      }, ${acknowledged} acknowledged, ${revoked} revoked tried, ` +
      `failed ${JSON.stringify(failures)} (slowest ${Math.round(slowestFailure)} ms), ` +
      `whole again within ${Math.round(slowestHeal)} ms\n`,
  );
  for (const { invariant, what } of violations.slice(0, 20)) say(`  ${invariant}: ${what}\n`);
  if (violations.length > 0) say(report.logs);
  broken += violations.length;
}
if (withTwo) {
  const report = await twoControls({ ms: minutes * 60_000 });
  const { lost, auditBad, slowestFailure } = report;
  const held = lost === 0 && auditBad === null && slowestFailure <= 3000;
  say(
    `${held ? "held " : "BROKE"} ${TWO_CONTROLS} for ${minutes} min: ${JSON.stringify(report)}\n`,
  );
  if (!held) broken++;
}
Deno.exit(broken > 0 ? 1 : 0);

/** The number behind a flag. */
function take(flag: string, otherwise: number): number {
  const at = args.indexOf(flag);
  return at < 0 ? otherwise : Number(args.splice(at, 2)[1]);
}
