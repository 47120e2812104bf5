import { type RunEvent, RunEvents } from "../../api/run_events.ts";
import type { AuditAction, AuditDetail } from "../../store/audit.ts";
import { TooMany } from "../rate_limit.ts";
import { nodeRoute } from "../route.ts";

/** What a node tells of its runs goes into the audit, each event once. It says so itself: a node can only lie about itself. */
export const reportRuns = nodeRoute(
  {
    method: "POST",
    path: "/v1/nodes/runs",
    summary: "What a node tells of its runs, for the audit",
    body: RunEvents,
    answers: { 204: null },
  },
  async (call, node, { store, runReports }) => {
    const wait = runReports.take(node.id);
    if (wait > 0) throw new TooMany("Too many reports at once by this node", wait);
    const { spool, events } = call.body;
    await store.recordRunEvents(
      node,
      spool,
      events.map((event) => ({ n: event.n, entry: call.audit(...toEntry(event)) })),
    );
    return { status: 204 };
  },
);

function toEntry(event: RunEvent): [AuditAction, { subject?: string; detail: AuditDetail }] {
  const { kind, n, at_ms, ...rest } = event;
  const known = { node_event: n, node_time: new Date(at_ms).toISOString() };
  if (kind === "gap") return ["run.gap", { detail: { ...known, ...rest } }];
  const { run_id, ...told } = rest as Exclude<typeof rest, { dropped: number }>;
  return [kind === "start" ? "run.start" : "run.end", {
    ...(run_id !== null && { subject: run_id }),
    detail: { ...told, ...known },
  }];
}
