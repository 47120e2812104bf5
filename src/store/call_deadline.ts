/**
 * How long the database is waited for, known to the driver below kysely, which has no way to hand it down.
 * Real time, not the clock of the caller: it bounds how long a socket is waited for.
 */
import { AsyncLocalStorage } from "node:async_hooks";

/** Of a call, and of all calls of one request together. */
export const CALL_MS = 2500;

const calls = new AsyncLocalStorage<number>();
const requests = new AsyncLocalStorage<{ left: number } | undefined>();

/** `endsAt` by `performance.now()`. */
export const untilThen = <T>(endsAt: number, work: () => Promise<T>): Promise<T> =>
  calls.run(endsAt, work);

/** Undefined outside a call. */
export const callEndsAt = (): number | undefined => calls.getStore();

/** All calls that `work` makes share the time of one: somebody waits for the last of them. */
export const asOneCall = <T>(work: () => Promise<T>): Promise<T> =>
  requests.run({ left: CALL_MS }, work);

/** What nobody's request alone waits for, or what is known to take longer. */
export const outsideRequests = <T>(work: () => Promise<T>): Promise<T> =>
  requests.run(undefined, work);

/** Tells `work` until when it may take, and takes what it took from the time of its request. */
export async function timed<T>(work: (endsAt: number) => Promise<T>): Promise<T> {
  const request = requests.getStore(), startedAt = performance.now();
  try {
    return await work(startedAt + (request?.left ?? CALL_MS));
  } finally {
    if (request) request.left -= performance.now() - startedAt;
  }
}
