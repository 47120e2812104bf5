/** What ends the process when nobody else dealt with it: printed, and the exit code. Never throws. */
import { exitCode, toOpenboxError } from "../errors.ts";
import { BrokenPipe, type Host, interruption } from "../host.ts";
import { printError } from "./output.ts";

export async function failed(error: unknown, host: Host): Promise<number> {
  if (error instanceof BrokenPipe) return error.exitCode;
  const interrupted = interruption(error, host);
  if (interrupted) return interrupted.exitCode;
  const failure = toOpenboxError(error);
  try {
    await printError(failure, host);
  } catch {
    // a stderr that cannot be written to: the exit code is left
  }
  return exitCode(failure.code);
}
