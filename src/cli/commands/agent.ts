import type { Host } from "../../host.ts";

/** The flags of `openbox agent`, as the tree reads them. */
export interface AgentFlags {
  readonly server?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly addr?: string;
  readonly advertise?: string;
  readonly name?: string;
  readonly tag?: readonly string[];
  readonly insecureHttp?: boolean;
  readonly tlsCa?: string;
}

export async function agent(flags: AgentFlags, host: Host): Promise<number | void> {
  const { readAgentSettings } = await import("../../agent/settings.ts");
  const { runAgent } = await import("../../agent/start.ts");
  return await runAgent(await readAgentSettings(flags, host), host);
}
