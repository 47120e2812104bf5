import { systemClock } from "../clock.ts";

/** Looks every `pollMs` until it is so, for what nobody tells us of; false where it is not so after `ms`. */
export async function within(
  ms: number,
  isSo: () => boolean | Promise<boolean>,
  pollMs: number,
): Promise<boolean> {
  for (const deadline = performance.now() + ms; !await isSo();) {
    if (performance.now() > deadline) return false;
    await systemClock.sleep(pollMs);
  }
  return true;
}
