/** Rounds of one nemesis: load, a strike at a random instant, everything whole again, and the invariants. */
import type { AuditRecord } from "../../src/api/audit.ts";
import { systemClock } from "../../src/clock.ts";
import { eventually } from "../fixtures/processes.ts";
import { check, type Violation } from "./checker.ts";
import { emptyHistory, type Found } from "./history.ts";
import { startLoad } from "./load.ts";
import { isTold, look } from "./look.ts";
import type { Nemesis } from "./nemeses.ts";
import { accepted, isRipe, type RevokedToken, revokeOne } from "./revoked.ts";
import { type ChaosOptions, startChaosWorld } from "./world.ts";

export interface Report {
  readonly rounds: number;
  readonly runs: number;
  /** Of the runs, by how they ended. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly acknowledged: number;
  /** Tokens that were tried a minute after they were revoked. */
  readonly revoked: number;
  /** Of the calls that failed, by their code. */
  readonly failures: Readonly<Record<string, number>>;
  /** The longest that a call took which failed, in ms. */
  readonly slowestFailure: number;
  /** From the strike's end to everything told, the longest, in ms. */
  readonly slowestHeal: number;
  readonly violations: readonly Violation[];
  /** The end of what the parts logged. */
  readonly logs: string;
}

/** What the invariants allow until everything is told (I6, I8). */
const HEAL_MS = 60_000;

export async function runRounds(
  nemesis: Nemesis,
  { rounds, ...options }: ChaosOptions & { readonly rounds: number },
  onRound: (round: number) => void = () => {},
): Promise<Report> {
  await using world = await startChaosWorld({ ...options, ...nemesis.options });
  const history = emptyHistory(), audit: AuditRecord[] = [];
  let slowestHeal = 0, violations: readonly Violation[] = [];
  let round = 0, revoked: RevokedToken[] = [];
  for (; round < rounds && violations.length === 0; round++) {
    revoked.push(await revokeOne(world, `round-${round}`));
    const ripe = revoked.filter(isRipe);
    for (const token of ripe) {
      history.revoked.push({ id: token.id, accepted: await accepted(world, token) });
    }
    revoked = revoked.filter((token) => !ripe.includes(token));
    {
      await using load = startLoad(world, history, round);
      await systemClock.sleep(100 + 500 * Math.random());
      await nemesis.strike(world);
      for (const control of world.controls) {
        await eventually("the control plane answers again", control.healthy, HEAL_MS);
      }
      await systemClock.sleep(200);
      await load.stop();
    }
    const healedAt = performance.now();
    let found: Found | undefined;
    await eventually("every run is told, and nothing is left", async () => {
      found = await look(world, audit).catch(() => undefined);
      return found !== undefined && isTold(history, found) && found.leftovers.length === 0;
    }, HEAL_MS).catch(() => {}); // the checker names what is missing
    slowestHeal = Math.max(slowestHeal, performance.now() - healedAt);
    violations = found
      ? check(history, found)
      : [{ invariant: "I3", what: "the control plane does not answer any more" }];
    onRound(round + 1);
  }
  return {
    rounds: round,
    runs: history.runs.length,
    outcomes: count(history.runs.map(({ outcome }) => outcome)),
    acknowledged: history.serials.length +
      history.writes.filter((write) => write.acknowledged).length +
      history.enrolls.length,
    revoked: history.revoked.length,
    failures: count(history.failures.map(({ code }) => code)),
    slowestFailure: Math.max(0, ...history.failures.map(({ ms }) => ms)),
    slowestHeal,
    violations,
    logs: [...world.controls, ...world.agents].map(({ service }) => service.log()).join("\n"),
  };
}

const count = (names: readonly string[]): Record<string, number> =>
  Object.fromEntries(
    [...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length]),
  );
