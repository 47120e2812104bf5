/** Every call there is. A route that is not in this list cannot be reached. */
import type { Route } from "../route.ts";
import { backup } from "./backup.ts";
import { listAudit, verifyAudit } from "./audit.ts";
import { getCa, rotateCa, sealCa, unsealCa } from "./ca.ts";
import { dispatch } from "./dispatch.ts";
import { can } from "./can.ts";
import { createEnrollToken, deleteEnrollToken, listEnrollTokens } from "./enroll_tokens.ts";
import { health, root } from "./health.ts";
import { heartbeat } from "./heartbeat.ts";
import { metrics } from "./metrics.ts";
import { deleteNode, getNode, listNodes, updateNode } from "./nodes.ts";
import { openapi } from "./openapi.ts";
import { reportRuns } from "./run_events.ts";
import { register } from "./register.ts";
import { listRevocations, revoke, takeBackRevocations } from "./revocations.ts";
import { createRule, deleteRule, listRules } from "./rules.ts";
import { deleteSession, listSessions } from "./sessions.ts";
import { createToken, deleteToken, listTokens } from "./tokens.ts";
import { createUser, deleteUser, listUsers } from "./users.ts";
import { whoami } from "./whoami.ts";

export const ROUTES: readonly Route[] = [
  root,
  health,
  metrics,
  openapi,
  whoami,
  listNodes,
  getNode,
  updateNode,
  deleteNode,
  listSessions,
  deleteSession,
  createEnrollToken,
  listEnrollTokens,
  deleteEnrollToken,
  listUsers,
  createUser,
  deleteUser,
  listTokens,
  createToken,
  deleteToken,
  listRules,
  createRule,
  deleteRule,
  can,
  register,
  heartbeat,
  takeBackRevocations,
  revoke,
  listRevocations,
  reportRuns,
  dispatch,
  getCa,
  rotateCa,
  sealCa,
  unsealCa,
  backup,
  listAudit,
  verifyAudit,
];
