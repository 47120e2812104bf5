/** What an agent makes of its stored state and of what it was started with, where the two differ. */
import { isInsecure, requireSecure, type ServerUrl } from "../client/server_url.ts";
import { OpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import { removedError } from "./heartbeat.ts";
import type { AgentSettings } from "./settings.ts";
import { hashEnrollToken, type NodeState } from "./state.ts";

/** The stored node, unless it was removed and somebody gave a token to enroll anew. */
export function usableState(
  stored: NodeState | undefined,
  settings: AgentSettings,
): NodeState | undefined {
  if (!stored?.removed) return stored;
  const { enrollToken } = settings;
  if (enrollToken && hashEnrollToken(enrollToken) !== stored.enrollTokenHash) return undefined;
  throw removedError(stored.nodeId);
}

/** What was said at the start and does not hold, since this machine is a node already. */
export function contradictions(settings: AgentSettings, stored: NodeState | undefined): string[] {
  if (!stored) return [];
  const { server, enrollToken, name, tags } = settings;
  const notes: string[] = [];
  if (server && server.href !== stored.server.href) {
    notes.push(`enrolled at ${stored.server.href}; the server ${server.href} is ignored`);
  }
  if (enrollToken && hashEnrollToken(enrollToken) !== stored.enrollTokenHash) {
    notes.push(`enrolled as ${stored.name} (${stored.nodeId}); the enrollment token is ignored`);
  }
  if (name !== undefined && name !== stored.name) {
    notes.push(`enrolled as ${stored.name}; the name ${name} is ignored: openbox node rename`);
  }
  if (tags && tags.toSorted().join() !== stored.tags.toSorted().join()) {
    notes.push(
      `enrolled with the tags ${
        stored.tags.join(", ") || "-"
      }; others are ignored: openbox node tag`,
    );
  }
  return notes;
}

/** How the control plane is reached. */
export interface Access {
  readonly server: ServerUrl;
  readonly insecureHttp: boolean;
  readonly tlsCa: string | undefined;
}

/** Throws `bad_setting` where no server is known, `insecure_http` where nobody said that plain HTTP will do. */
export function chooseAccess(settings: AgentSettings, stored: NodeState | undefined): Access {
  const server = stored?.server ?? settings.server;
  if (!server) {
    throw new OpenboxError("bad_setting", "Nothing says where the control plane is", {
      hint: "openbox agent --server URL, or OPENBOX_SERVER",
    });
  }
  const insecureHttp = settings.insecureHttp || (stored?.insecureHttp ?? false);
  requireSecure(server, insecureHttp);
  if (isInsecure(server)) {
    log("agent").warn("plain HTTP to {server}: whoever is on the way can read the node's token", {
      server: server.href,
    });
  }
  return { server, insecureHttp, tlsCa: settings.tlsCa ?? stored?.tlsCa };
}
