/** What the agent would refuse at its start as a service is refused before anything is installed. */
import { formatEnrollToken } from "../ca/enroll_proof.ts";
import { OpenboxError } from "../errors.ts";
import { writePrivateFile } from "../home/private_file.ts";
import type { Host } from "../host.ts";
import type { AgentFlags } from "./commands/agent.ts";

export interface PreparedAgent {
  /** Puts the enroll token, where the agent needs one, where its next start takes it from. */
  leaveToken(): Promise<void>;
}

/** `host` has the service's home. Throws `bad_setting`, `bad_file` or `unsafe_file`. */
export async function prepareAgent(
  flags: AgentFlags & { readonly dryRun?: boolean },
  host: Host,
): Promise<PreparedAgent> {
  const { readAgentSettings } = await import("../agent/settings.ts");
  const { readNodeState } = await import("../agent/state.ts");
  const { enrollToken, enrollTokenPath, server, statePath } = await readAgentSettings(flags, host);
  const state = await readNodeState(statePath);
  if (flags.dryRun || (state && !state.removed)) return { leaveToken: () => Promise.resolve() };
  if (!enrollToken) {
    throw new OpenboxError("bad_setting", "This machine is no node yet, and there is no token", {
      hint:
        "openbox node token, where you are logged in, prints one: OPENBOX_ENROLL_TOKEN=enroll_…",
    });
  }
  if (!server && !state) {
    throw new OpenboxError("bad_setting", "Nothing says where the control plane is", {
      hint: "openbox service install agent --server URL, or OPENBOX_SERVER",
    });
  }
  return {
    leaveToken: () =>
      writePrivateFile(enrollTokenPath, `${formatEnrollToken(enrollToken).reveal()}\n`),
  };
}
