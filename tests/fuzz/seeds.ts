/**
 * Seeds of a fuzz run: those that once found something are kept in tests/fixtures/seeds.json and run first,
 * the rest is new each time. A failure names its seed; put it into the file with the fix.
 */
import kept from "../fixtures/seeds.json" with { type: "json" };

export function seeds(name: keyof typeof kept, count: number): number[] {
  const fresh = crypto.getRandomValues(new Uint32Array(Math.max(0, count - kept[name].length)));
  return [...kept[name], ...fresh];
}

/** Whole numbers below the bound, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = state + 0x6d2b79f5 >>> 0;
    let mixed = Math.imul(state ^ state >>> 15, 1 | state);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    return ((mixed ^ mixed >>> 14) >>> 0) % below;
  };
}
