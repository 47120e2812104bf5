import type { Host, Output } from "../host.ts";

/** Whether `output` wants colours: a terminal that can, and nobody said NO_COLOR (no-color.org). */
export const usesColor = (output: Output, host: Host): boolean =>
  output.isTerminal() && host.env("NO_COLOR") === undefined && host.env("TERM") !== "dumb";
