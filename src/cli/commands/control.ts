import type { Host } from "../../host.ts";

/** The flags of `openbox control`, as the tree reads them. */
export interface ControlFlags {
  readonly addr?: string;
  readonly url?: string;
  readonly db?: string;
  readonly ca?: string;
  readonly caPassphraseFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecureHttp?: boolean;
  readonly behindProxy?: string;
  readonly bootstrapTokenFile?: string;
  readonly printBootstrapToken?: boolean;
  readonly newToken?: string;
  readonly dispatchLimit?: string;
  readonly sourceLimit?: string;
  readonly auditSyslog?: string;
}

export async function control(flags: ControlFlags, host: Host): Promise<number | void> {
  const { readControlSettings } = await import("../../control/settings.ts");
  const { runControl } = await import("../../control/start.ts");
  return await runControl(readControlSettings(flags, host), host);
}
