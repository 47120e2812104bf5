/** What the SSH server tells, as lines of the agent's log: what is everyday is not shown. */
import { log } from "../log.ts";

export function logSshEvent(event: string, fields: Record<string, unknown>): void {
  const everyday = event === "connection ended" && fields.phase === "open";
  const logger = log("agent", "ssh");
  if (everyday) logger.debug(event, fields);
  else logger.info(event, fields);
}
