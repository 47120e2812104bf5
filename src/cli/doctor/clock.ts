/** This machine's clock against another's: a certificate is good for minutes. */
import { type Finding, none, ok, warning, wrong } from "./check.ts";

/** A certificate begins five minutes before it is issued, and the way to the node takes some of them. */
const WRONG_MS = 4 * 60_000, WARN_MS = 30_000;

/** How far this machine is ahead, in milliseconds; less than nothing where it is behind. */
export function checkClock(aheadMs: number | undefined): Finding {
  if (aheadMs === undefined) return none("the control plane did not tell the time");
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  if (seconds * 1000 < WARN_MS) return ok("as the control plane's");
  const text = `this machine is ${seconds} s ${
    aheadMs > 0 ? "ahead of" : "behind"
  } the control plane`;
  const hint = "compare `date -u` on both, and have them set by NTP: timedatectl set-ntp true";
  return Math.abs(aheadMs) > WRONG_MS ? wrong(text, hint) : warning(text, hint);
}
