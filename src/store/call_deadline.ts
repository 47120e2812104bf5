/**
 * Until when a call of the store may take, known to the driver below kysely, which has no way to hand it
 * down. Real time, not the clock of the caller: it bounds how long a socket is waited for.
 */
import { AsyncLocalStorage } from "node:async_hooks";

const calls = new AsyncLocalStorage<number>();

/** `endsAt` by `performance.now()`. */
export const untilThen = <T>(endsAt: number, work: () => Promise<T>): Promise<T> =>
  calls.run(endsAt, work);

/** Undefined outside a call. */
export const callEndsAt = (): number | undefined => calls.getStore();
