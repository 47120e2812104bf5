/**
 * Where a run goes, and that it may. A session's call goes to the node that it is bound to, whatever else
 * would fit; one that says another place is refused, for it would find another shell than its caller
 * thinks of. Nothing is bound before it is known that the run is allowed.
 */
import { OpenboxError } from "../errors.ts";
import type { Binding, Candidate, Target, TokenUser } from "../store/store.ts";
import { type AllowedRun, requireRun } from "./allow.ts";
import { findNode, judge, type NodeFinder, noNode } from "./find_node.ts";
import { refusal, resolve } from "./resolve.ts";
import type { Call, Control } from "./route.ts";

export interface AskedRun {
  readonly target: Target;
  /** A session's name. */
  readonly session: string | undefined;
  /** Undefined: a session's is that of its binding, native for a new one. */
  readonly isolation: string | undefined;
  readonly login: string | undefined;
}

export interface RunPlace {
  readonly run: AllowedRun;
  /** The session was bound just now. */
  readonly created: boolean;
}

/**
 * Throws `not_allowed`, `scope`, `session_bound_elsewhere`, `session_isolation_mismatch`, or what there is
 * instead of a node.
 */
export async function placeRun(
  user: TokenUser,
  asked: AskedRun,
  call: Pick<Call<unknown>, "audit">,
  control: NodeFinder,
): Promise<RunPlace> {
  const { session, target, isolation, login } = asked;
  const { store, clock } = control;
  const known = session === undefined ? undefined : await store.binding(user, session, clock.now());
  if (session !== undefined && known) {
    return { run: await atBinding(user, session, known, asked, control), created: false };
  }
  const wish = { isolation, login, session: session !== undefined };
  const found = await findNode(user, target, wish, control);
  if (found.kind === "nowhere") throw await noNode(user, target, found.resolution, control);
  const run = requireRun(user, found.node, session, found.judged);
  if (session === undefined) return { run, created: false };
  const place = { nodeId: run.node.id, isolation: run.isolation! };
  const bound = await store.bindSession(
    user,
    session,
    place,
    clock.now(),
    call.audit("session.bind", {
      subject: session,
      detail: { node: place.nodeId, isolation: place.isolation, rule: run.rule },
    }),
  );
  if (bound.created) return { run, created: true };
  return { run: await atBinding(user, session, bound, asked, control), created: false };
}

/** The run on the node where the session lives already. */
async function atBinding(
  user: TokenUser,
  session: string,
  binding: Binding,
  asked: AskedRun,
  control: NodeFinder,
): Promise<AllowedRun> {
  const { node, isolation } = binding, { login } = asked;
  const judged = (await judge(user, control))(node, { isolation, login, session: true });
  const run = requireRun(user, node, session, judged);
  await requireHere(user, session, binding, asked, control);
  const target: Target = { kind: "node", node: node.id };
  const resolution = resolve(target, [node], control.clock.now(), control.isReady);
  if (resolution.kind === "found") return run;
  throw refusal(target, resolution, undefined, control.clock.now());
}

async function requireHere(
  { accountId }: TokenUser,
  name: string,
  { node, isolation }: Binding,
  { target, isolation: wanted }: AskedRun,
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
