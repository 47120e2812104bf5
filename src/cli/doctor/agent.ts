/** The agent whose files lie on this machine: whether it could serve with them. */
import { homePaths } from "../../home/paths.ts";
import { networkFileSystem } from "../../home/network_file_system.ts";
import type { Host } from "../../host.ts";
import { findManager } from "../../service/find_manager.ts";
import { type Finding, none, ok, toFinding, warning, wrong } from "./check.ts";

/** Of the user's home and, for root, of the service of the machine. */
export async function lookAtAgents(host: Host, uid: number): Promise<Finding[]> {
  const homes = [homePaths(host).home];
  if (uid === 0) {
    const manager = await findManager(host, { uid, evenIfNotRunning: true });
    homes.push(manager.systemHome("agent"));
  }
  const found: Finding[] = [];
  for (const home of new Set(homes)) {
    try {
      found.push(...await lookAtAgent(home, host));
    } catch (error) {
      found.push(toFinding(error));
    }
  }
  return found.length > 0 ? found : [none("this machine is no node")];
}

async function lookAtAgent(home: string, host: Host): Promise<Finding[]> {
  const env = (name: string) => name === "OPENBOX_HOME" ? home : host.env(name);
  const { agentState, agentRules, agentDir } = homePaths({ env, cwd: () => host.cwd() });
  const { readNodeState } = await import("../../agent/state.ts");
  const { readAgentRules } = await import("../../agent/rules.ts");
  const state = await readNodeState(agentState);
  if (!state) return [];
  const called = `${state.name} (${state.nodeId})`;
  if (state.removed) {
    return [
      wrong(
        `${called} was removed from ${state.server.href}`,
        "openbox node token, where you are logged in, makes the token to enroll it anew",
      ),
    ];
  }
  await readAgentRules(agentRules);
  const found: Finding[] = [];
  if (Number(state.hostCert.validBefore) * 1000 < host.clock.now()) {
    found.push(
      wrong(
        `the host certificate of ${called} has ended: its heartbeat, which renews it, must have failed for long`,
        "openbox service status agent, and see its log",
      ),
    );
  }
  const network = await networkFileSystem(agentDir);
  if (network !== undefined) {
    found.push(
      warning(
        `${called} keeps its files on ${network}: two machines that see them are one node twice`,
        "OPENBOX_HOME of the agent on a local disk",
      ),
    );
  }
  return found.length > 0 ? found : [ok(`${called}, of ${state.server.href}`)];
}
