/** Every call that waits takes these options: the signal ends the wait, never the thing waited for. */
export interface AbortOptions {
  readonly signal?: AbortSignal;
}

/** The signal's reason as an Error, whatever was given to `abort()`. */
export function abortReason(signal: AbortSignal): Error {
  const { reason } = signal;
  return reason instanceof Error ? reason : new DOMException(String(reason), "AbortError");
}

/** Settles as `promise` does, or rejects when `signal` aborts first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      promise.catch(() => {}); // its failure has no reader any more
      return reject(abortReason(signal));
    }
    const onAbort = () => reject(abortReason(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** `signal` and a deadline in one; dispose it to drop the timer and the listener. */
export function deadline(
  ms: number,
  reason: () => Error,
  options: AbortOptions = {},
): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(reason()), ms);
  const outer = options.signal;
  const onAbort = () => controller.abort(abortReason(outer!));
  if (outer?.aborted) onAbort();
  else outer?.addEventListener("abort", onAbort, { once: true });
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearTimeout(timer);
      outer?.removeEventListener("abort", onAbort);
    },
  };
}
