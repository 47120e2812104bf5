/** Every call there is. A route that is not in this list cannot be reached. */
import type { Route } from "../route.ts";
import { listAudit, verifyAudit } from "./audit.ts";
import { getCa, rotateCa, sealCa, unsealCa } from "./ca.ts";
import { dispatch } from "./dispatch.ts";
import { createEnrollToken } from "./enroll_tokens.ts";
import { health, root } from "./health.ts";
import { heartbeat } from "./heartbeat.ts";
import { deleteNode, getNode, listNodes, updateNode } from "./nodes.ts";
import { reportRuns } from "./run_events.ts";
import { register } from "./register.ts";
import { deleteSession, listSessions } from "./sessions.ts";
import { whoami } from "./whoami.ts";

export const ROUTES: readonly Route[] = [
  root,
  health,
  whoami,
  listNodes,
  getNode,
  updateNode,
  deleteNode,
  listSessions,
  deleteSession,
  createEnrollToken,
  register,
  heartbeat,
  reportRuns,
  dispatch,
  getCa,
  rotateCa,
  sealCa,
  unsealCa,
  listAudit,
  verifyAudit,
];
