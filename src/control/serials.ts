/**
 * Numbers for certificates, each given once: reserved in blocks from the database, so that a
 * certificate costs no write and a kill -9 skips numbers and never repeats one.
 */
export const SERIAL_BLOCK = 1000;

/** `reserve` returns the first of `count` numbers that nobody else gets. */
export function createSerials(
  reserve: (count: number) => Promise<bigint>,
): () => Promise<bigint> {
  let next = 0n, end = 0n;
  let reserving: Promise<void> | undefined;
  const reserveBlock = async () => {
    next = await reserve(SERIAL_BLOCK);
    end = next + BigInt(SERIAL_BLOCK);
  };
  return async () => {
    // again after the wait: the others who waited may have taken the whole block
    while (next === end) await (reserving ??= reserveBlock().finally(() => reserving = undefined));
    return next++;
  };
}
