import { utf8 } from "../bytes.ts";
import type { Host } from "../host.ts";

/** Shows on a terminal how far the node is before the command can start; the line is gone once it has. */
export function showProgress(
  run: { onProgress(handler: (text: string) => void): void },
  { stderr }: Host,
): void {
  if (!stderr.isTerminal()) return;
  // where it cannot be shown, it is not
  const show = (line: string) => void stderr.write(utf8(`\r\x1b[K${line}`)).catch(() => {});
  run.onProgress((text) => show(text === "" ? "" : `openbox: ${text}`));
}

const PATIENCE_MS = 1000;

/** Says on a terminal what is waited for, once that takes over a second; disposing it takes the line away. */
export function showWaiting(what: string, host: Host): AsyncDisposable {
  const { stderr } = host;
  if (!stderr.isTerminal()) return { [Symbol.asyncDispose]: () => Promise.resolve() };
  let shown: Promise<void> | undefined;
  const timer = setTimeout(() => shown = stderr.write(utf8(`openbox: ${what}`)), PATIENCE_MS);
  return {
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      await shown;
      if (shown) await stderr.write(utf8("\r\x1b[K"));
    },
  };
}
