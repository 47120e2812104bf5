import { Node as ApiNode, NodeList, NodePatch } from "../../api/nodes.ts";
import { OpenboxError } from "../../errors.ts";
import { log } from "../../log.ts";
import type { Node } from "../../store/store.ts";
import { isOnline } from "../resolve.ts";
import { isStale } from "../../client/revocation_list.ts";
import { userRoute } from "../route.ts";

const PATH = "/v1/nodes/:id";

export const listNodes = userRoute(
  {
    method: "GET",
    path: "/v1/nodes",
    needs: "read",
    summary: "The nodes of the account",
    query: { tag: "only those with this tag" },
    answers: { 200: NodeList },
  },
  async (call, user, { store, clock }) => {
    const nodes = await store.nodes(user.accountId, { tag: call.query("tag") });
    return { status: 200, body: { nodes: nodes.map((node) => toApi(node, clock.now())) } };
  },
);

export const getNode = userRoute(
  {
    method: "GET",
    path: PATH,
    needs: "read",
    summary: "One node",
    answers: { 200: ApiNode },
    refuses: ["node_not_found"],
  },
  async (call, user, { store, clock }) => {
    const node = await store.node(user.accountId, call.param("id"));
    return { status: 200, body: toApi(found(node, call.param("id")), clock.now()) };
  },
);

export const updateNode = userRoute(
  {
    method: "PATCH",
    path: PATH,
    needs: "admin",
    summary: "Name and tag a node: the whole desired state",
    body: NodePatch,
    answers: { 200: ApiNode },
    refuses: ["node_not_found"],
  },
  async (call, user, { store, clock }) => {
    const id = call.param("id"), { name, tags } = call.body;
    const audit = call.audit("node.update", {
      subject: id,
      detail: { name, tags: tags.join(",") },
    });
    const node = await store.updateNode(user.accountId, id, call.body, audit);
    return { status: 200, body: toApi(found(node, id), clock.now()) };
  },
);

export const deleteNode = userRoute(
  {
    method: "DELETE",
    path: PATH,
    needs: "admin",
    summary: "Remove a node",
    answers: { 204: null },
    refuses: ["node_not_found"],
  },
  async (call, user, { store, clock }) => {
    const id = call.param("id");
    const audit = call.audit("node.remove", { subject: id });
    const deleted = await store.deleteNode(user.accountId, id, clock.now(), audit);
    found(deleted || undefined, id);
    log("control").info("node removed", { node: id, by: user.id });
    return { status: 204 };
  },
);

/** Another account's node is not there: the same words as for one that never was. */
function found<T>(node: T | undefined, id: string): T {
  if (node !== undefined) return node;
  throw new OpenboxError("node_not_found", `no node has the id ${JSON.stringify(id)}`, {
    hint: "openbox nodes",
  });
}

/** For so long after a copy of it was heard a node is shown as one that has a copy. */
const CLONED_MS = 3_600_000;

const toApi = (node: Node, now: number): ApiNode => ({
  id: node.id,
  name: node.name,
  addr: node.addr,
  os: node.os,
  arch: node.arch,
  tags: [...node.tags],
  last_seen: Math.floor(node.lastSeenAt / 1000),
  created_at: Math.floor(node.createdAt / 1000),
  online: isOnline(node.lastSeenAt, now),
  revocations: node.revocations
    ? {
      version: node.revocations.version,
      age_seconds: Math.floor(Math.max(0, now - node.revocations.signedAt) / 1000),
      stale: isStale(node.revocations.signedAt, now),
    }
    : null,
  ...(node.clonedAt !== undefined && now - node.clonedAt < CLONED_MS && { cloned: true }),
  ...(node.ephemeralMs !== undefined && { ephemeral_seconds: node.ephemeralMs / 1000 }),
});
