/** Who sends a request, by the one token it may carry: `Authorization: Bearer …`, never a query or a cookie. */
import { OpenboxError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { EnrolledNode, TokenUser } from "../store/store.ts";
import type { Control, ControlRequest } from "./route.ts";

type Request = Pick<ControlRequest, "authorization" | "origin">;

/** Throws `unauthorized`, or `scope` for a token of another kind. */
export async function authenticateUser(
  request: Request,
  { store, clock, tokenUsed }: Pick<Control, "store" | "clock" | "tokenUsed">,
): Promise<TokenUser> {
  const token = bearer(request.authorization);
  if (token === undefined) throw unauthorized("A user token is required");
  refuseOtherKind(token, "user");
  const user = await store.userByToken(new Secret(token), clock.now());
  if (!user) throw unauthorized("The user token is unknown or has expired");
  tokenUsed(token);
  return user;
}

/** Throws also `upgrade_required` where there is no token: agents of the Go program send none. */
export async function authenticateNode(
  request: Request,
  { store }: Pick<Control, "store">,
): Promise<EnrolledNode> {
  if (request.authorization === undefined) {
    throw new OpenboxError(
      "upgrade_required",
      "This heartbeat names no node token: its agent is older than this control plane",
      { hint: enrollAnew(request.origin) },
    );
  }
  const token = bearer(request.authorization);
  if (token === undefined) throw unauthorized("A node token is required");
  refuseOtherKind(token, "node");
  const node = await store.nodeByToken(new Secret(token));
  if (!node) throw unauthorized("The node token is unknown");
  if (node.deletedAt !== undefined) {
    throw new OpenboxError("node_deleted", `The node ${node.id} was removed`, {
      hint: "openbox node token prints the command that enrolls it anew",
    });
  }
  return node;
}

/** The way out for an agent of another program or version. */
export const enrollAnew = (origin: string): string =>
  `install this openbox on the node and enroll it anew, with a token of openbox node token: ` +
  `OPENBOX_ENROLL_TOKEN=… openbox agent --server ${origin}`;

/** Ours have 44 characters; longer ones are not worth a hash. */
const BEARER = /^bearer +([!-~]{1,128})$/i;
const bearer = (authorization: string | undefined): string | undefined =>
  authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];

const KINDS = { user: "obx_", node: "obn_", enrollment: "enroll_" } as const;

/** Told apart by the prefix alone: whether the token is any good says nothing here. */
function refuseOtherKind(token: string, wanted: "user" | "node"): void {
  for (const [kind, prefix] of Object.entries(KINDS)) {
    if (kind === wanted || !token.startsWith(prefix)) continue;
    throw new OpenboxError("scope", `This call takes a ${wanted} token, not one of kind "${kind}"`);
  }
}

const unauthorized = (message: string) =>
  new OpenboxError("unauthorized", message, {
    hint: "openbox login; openbox control --new-token USER makes a token",
  });
