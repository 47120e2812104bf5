/** The services of openbox on this machine. */
import type { ServiceStatus } from "../../service/service.ts";
import { type Finding, none, ok, warning, wrong } from "./check.ts";

export interface SeenService extends ServiceStatus {
  /** What its file starts is missing. */
  readonly missingProgram: string | undefined;
  readonly logCommand: string;
}

export function checkServices(services: readonly SeenService[]): Finding[] {
  const found = services.filter(({ installed }) => installed).map(checkService);
  return found.length > 0 ? found : [none("none is installed")];
}

function checkService(service: SeenService): Finding {
  const { unit, state, failure, missingProgram, logCommand, enabled, restarts } = service;
  const install = `openbox service install ${service.service}`;
  if (missingProgram !== undefined) {
    return wrong(`${unit} starts ${missingProgram}, which is not there`, install);
  }
  if (state !== "running" && state !== "listening") {
    return wrong(`${unit} is ${state}${failure === undefined ? "" : ` (${failure})`}`, logCommand);
  }
  if (service.service === "agent" && service.delegated === false) {
    return warning(`${unit} runs, and its commands cannot have limits`, install);
  }
  if (!enabled) return warning(`${unit} runs, and does not start by itself`, install);
  if (restarts !== undefined && restarts > 0) {
    return warning(`${unit} runs, and was started anew ${restarts} times`, logCommand);
  }
  return ok(`${unit} is ${state}`);
}
