/**
 * Where a session's call goes: to the node that it is bound to, whatever else would fit. A call that says
 * another place is refused, for it would find another shell than its caller thinks of.
 */
import { OpenboxError } from "../errors.ts";
import type { Binding, Candidate, Target, User } from "../store/store.ts";
import { findNode, type NodeFinder } from "./find_node.ts";
import { refusal, resolve } from "./resolve.ts";
import type { Call, Control } from "./route.ts";

export interface SessionWish {
  readonly target: Target;
  /** Undefined: that of the binding, native for a new one. */
  readonly isolation: string | undefined;
}

export interface SessionPlace extends Binding {
  /** The session was bound just now. */
  readonly created: boolean;
}

/** Throws `session_bound_elsewhere`, `session_isolation_mismatch`, or as `findNode` does. */
export async function placeSession(
  user: User,
  name: string,
  wish: SessionWish,
  call: Pick<Call<unknown>, "audit">,
  control: NodeFinder,
): Promise<SessionPlace> {
  const { store, clock } = control;
  const known = await store.binding(user, name, clock.now());
  const place = known ? { ...known, created: false } : await bind(user, name, wish, call, control);
  if (place.created) return place;
  await requireHere(user, name, place, wish, control);
  const target: Target = { kind: "node", node: place.node.id };
  const resolution = resolve(target, [place.node], clock.now(), control.isReady);
  if (resolution.kind === "found") return place;
  throw refusal(target, resolution, { tags: [], nodes: [] }, clock.now());
}

async function bind(
  user: User,
  name: string,
  { target, isolation = "native" }: SessionWish,
  call: Pick<Call<unknown>, "audit">,
  control: NodeFinder,
): Promise<SessionPlace> {
  const node = await findNode(user.accountId, target, control);
  const { store, clock } = control;
  const audit = call.audit("session.bind", { subject: name, detail: { node: node.id, isolation } });
  return await store.bindSession(user, name, { nodeId: node.id, isolation }, clock.now(), audit);
}

async function requireHere(
  { accountId }: User,
  name: string,
  { node, isolation }: Binding,
  { target, isolation: wanted }: SessionWish,
  { store }: Pick<Control, "store">,
): Promise<void> {
  if (
    !isMeant(target, node, target.kind === "tag" ? await store.candidates(accountId, target) : [])
  ) {
    throw new OpenboxError(
      "session_bound_elsewhere",
      `The session ${name} lives on the node ${node.name} (${node.id})`,
      { hint: `leave -n and -t out, or openbox session end ${name} to start it elsewhere` },
    );
  }
  if (wanted !== undefined && wanted !== isolation) {
    throw new OpenboxError(
      "session_isolation_mismatch",
      `The session ${name} is in ${isolation}, not in ${wanted}`,
      { hint: `leave the isolation out, or openbox session end ${name} first` },
    );
  }
}

function isMeant(target: Target, node: Candidate, tagged: readonly Candidate[]): boolean {
  switch (target.kind) {
    case "any":
      return true;
    case "node":
      return target.node === node.id || target.node === node.name;
    case "tag":
      return tagged.some(({ id }) => id === node.id);
  }
}
