/** Where openbox keeps its files: one directory a person can look into, back up and delete. */
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";

export interface HomePaths {
  /** `$OPENBOX_HOME`, else `~/.openbox`. */
  readonly home: string;
  /** The CLI's login. */
  readonly config: string;
  /** People's settings for the CLI and its daemon. */
  readonly settings: string;
  /** `$OPENBOX_DAEMON_SOCKET`, else in the home. */
  readonly daemonSocket: string;
  readonly daemonLog: string;
  readonly controlDir: string;
  readonly database: string;
  readonly caKey: string;
  readonly operationsKey: string;
  readonly auditHead: string;
  readonly bootstrapToken: string;
  readonly agentDir: string;
  readonly agentState: string;
  readonly agentRuns: string;
  /** Left for the next start of the agent, which removes it. */
  readonly agentEnrollToken: string;
  readonly agentRules: string;
  readonly agentSessions: string;
  readonly agentRevocations: string;
}

/** Paths only: nothing is read or made. Each throws where no home is known, so that a command that needs none runs without. */
export function homePaths(host: Pick<Host, "env" | "cwd">): HomePaths {
  const at = (path: string) => `${homeDir(host)}/${path}`;
  return {
    get home() {
      return homeDir(host);
    },
    get config() {
      return at("config.json");
    },
    get settings() {
      return at("settings.toml");
    },
    get daemonSocket() {
      const given = host.env("OPENBOX_DAEMON_SOCKET");
      return given ? absolute(given, host.cwd) : at("openboxd.sock");
    },
    get daemonLog() {
      return at("openboxd.log");
    },
    get controlDir() {
      return at("control");
    },
    get database() {
      return at("control/openbox.db");
    },
    get caKey() {
      return at("control/ca_key");
    },
    get operationsKey() {
      return at("control/operations_key");
    },
    get auditHead() {
      return at("control/audit_head.json");
    },
    get bootstrapToken() {
      return at("control/bootstrap_token");
    },
    get agentDir() {
      return at("agent");
    },
    get agentState() {
      return at("agent/agent.json");
    },
    get agentEnrollToken() {
      return at("agent/enroll_token");
    },
    get agentRules() {
      return at("agent/agent.toml");
    },
    get agentRevocations() {
      return at("agent/revocations.json");
    },
    get agentRuns() {
      return at("agent/runs.jsonl");
    },
    get agentSessions() {
      return at("agent/sessions");
    },
  };
}

function homeDir(host: Pick<Host, "env" | "cwd">): string {
  const given = host.env("OPENBOX_HOME");
  if (given) return absolute(given, host.cwd);
  const user = host.env("HOME");
  if (!user) {
    throw new OpenboxError(
      "bad_setting",
      "Cannot tell where openbox keeps its files: neither OPENBOX_HOME nor HOME is set",
      { hint: "export OPENBOX_HOME=/path/to/a/directory" },
    );
  }
  return `${absolute(user, host.cwd)}/.openbox`;
}

function absolute(path: string, cwd: () => string): string {
  const full = path.startsWith("/") ? path : `${cwd()}/${path}`;
  return full.replace(/\/+$/, "") || "/";
}
