/** What a caller asked for: where, and how kept apart. The control plane turns it into one node. */
import type { DispatchRequest } from "../api/dispatch.ts";
import { formatIsolation, type IsolationSpec } from "../isolation/spec.ts";
import { authorizedLine, type PublicKey } from "../ssh/key.ts";

export interface Target {
  readonly tag?: string;
  /** An id or a name. */
  readonly node?: string;
  /** The user's name for a shell that stays. */
  readonly session?: string;
  /** Named, so that a node runs it in exactly this one or not at all; a session without it has its own. */
  readonly isolation: IsolationSpec | undefined;
  /** The user of the node's system to run as; undefined: whom its owner chose. */
  readonly login?: string;
}

export const toDispatchRequest = (target: Target, key: PublicKey): DispatchRequest => ({
  ...(target.tag !== undefined && { tag: target.tag }),
  ...(target.node !== undefined && { node_id: target.node }),
  ...(target.session !== undefined && { session_id: target.session }),
  ...(target.isolation && { isolation: formatIsolation(target.isolation) }),
  ...(target.login !== undefined && { login: target.login }),
  client_pubkey: authorizedLine(key),
});
