/**
 * Everything but the hot path: one process from its arguments to its exit code. main.ts loads it when a
 * running daemon was not enough.
 */
import { processHost } from "../process_host.ts";
import { run } from "./start.ts";

/** `release` gives up what the hot path had taken of the process; called once this side has taken it. */
export function main(release: () => void = () => {}): Promise<number> {
  const host = processHost();
  release();
  return run(host);
}
