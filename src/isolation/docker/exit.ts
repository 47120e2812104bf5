/**
 * The engine, like a shell, tells a death by signal n as the code 128+n. What exits so by itself is taken
 * for that as well: for whoever asked it is the same code.
 */
import type { Exit } from "../backend.ts";

const NAMES =
  "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT " +
  "STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS";
const SIGNALS = NAMES.split(" ");
const FIRST_REALTIME = 34, LAST_REALTIME = 64;

export function toExit(code: number): Exit {
  const number = code - 128;
  const signal = number >= FIRST_REALTIME && number <= LAST_REALTIME
    ? `RT${number}`
    : SIGNALS[number - 1];
  return signal === undefined ? { kind: "exit", code } : { kind: "signal", signal, number };
}
