/** The daemon of this home. What is wrong with its socket is an error of asking it. */
import type { DaemonStatus } from "../../ipc/messages.ts";
import { VERSION } from "../../version.ts";
import { type Finding, none, ok, warning } from "./check.ts";

export function checkDaemon(status: DaemonStatus | undefined): Finding {
  if (!status) return none("none runs; the first command starts one");
  const { pid, version } = status;
  return version === VERSION
    ? ok(`answers, process ${pid}`)
    : warning(`process ${pid} is of another version, ${version}`, "openbox daemon stop");
}
