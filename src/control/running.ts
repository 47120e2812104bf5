/** A loop that goes on until it is disposed, which waits for its end. */
export function running(loop: (signal: AbortSignal) => Promise<void>): AsyncDisposable {
  const ending = new AbortController();
  const done = loop(ending.signal);
  return {
    async [Symbol.asyncDispose]() {
      ending.abort();
      await done;
    },
  };
}
