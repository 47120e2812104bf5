/** Medians and percentiles of timings, and the table they are printed in. */
import width from "fast-string-width";

export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

export const median = (samples: readonly number[]): number => percentile(samples, 0.5);

/** Milliseconds that `act` took. */
export async function time(act: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await act();
  return performance.now() - start;
}

/** Times `a` and `b` in turn, so that a machine that slows down slows both. The first round is not counted. */
export const inTurn = (
  rounds: number,
  a: () => Promise<unknown>,
  b: () => Promise<unknown>,
): Promise<[number[], number[]]> => inTurns(rounds, a, b);

/** As `inTurn`, of as many. */
export async function inTurns<ACTS extends (() => Promise<unknown>)[]>(
  rounds: number,
  ...acts: ACTS
): Promise<{ [I in keyof ACTS]: number[] }> {
  const times: number[][] = acts.map(() => []);
  for (let round = 0; round <= rounds; round++) {
    for (const [side, act] of acts.entries()) {
      const took = await time(act);
      if (round > 0) times[side]!.push(took);
    }
  }
  return times as { [I in keyof ACTS]: number[] };
}

export interface Row {
  readonly what: string;
  readonly openbox: string;
  readonly openssh?: string;
  readonly ratio?: string;
  /** The bar and whether it was reached. */
  readonly bar?: string;
  readonly reached?: boolean;
}

export function formatTable(rows: readonly Row[]): string {
  const head = ["", "openbox", "OpenSSH", "ratio", "bar"];
  const cells = rows.map(({ what, openbox, openssh = "-", ratio = "-", bar = "", reached }) => [
    what,
    openbox,
    openssh,
    ratio,
    bar === "" ? "" : `${bar} ${reached ? "reached" : "MISSED"}`,
  ]);
  const widths = head.map((_, column) =>
    Math.max(...[head, ...cells].map((row) => width(row[column]!)))
  );
  const isUsed = (column: number) => column === 0 || cells.some((row) => /[^-]/.test(row[column]!));
  const line = (row: readonly string[]) =>
    row.map((cell, column) => cell + " ".repeat(widths[column]! - width(cell)))
      .filter((_, column) => isUsed(column)).join("  ").trimEnd();
  return [head, ...cells].map(line).join("\n") + "\n";
}

export const ms = (value: number): string =>
  `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ms`;
export const perSecond = (value: number): string => `${value.toFixed(value < 100 ? 1 : 0)}/s`;
export const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
export const times = (value: number): string => `${value.toFixed(2)} ×`;

/** Of the line of least squares through points. */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (side: 0 | 1) => points.reduce((sum, point) => sum + point[side], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const along = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0);
  return along / points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
}
