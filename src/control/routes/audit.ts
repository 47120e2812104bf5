import {
  AuditPage,
  type AuditRecord as ApiRecord,
  AuditVerdict,
  AuditVerifyRequest,
  MAX_AUDIT_RECORDS,
} from "../../api/audit.ts";
import { OpenboxError } from "../../errors.ts";
import type { AuditRecord } from "../../store/audit.ts";
import { userRoute } from "../route.ts";

/** `?after=SEQ` goes on behind a record, `?newest=true` gives the last ones, `?since=SECONDS` leaves out older ones. */
export const listAudit = userRoute(
  {
    method: "GET",
    path: "/v1/audit",
    needs: "audit",
    summary: "What happened, oldest first",
    query: {
      after: "go on behind the record of this number",
      limit: "at most so many records",
      newest: "`true`: the last ones",
      since: "leave out what is older, epoch seconds",
    },
    answers: { 200: AuditPage },
  },
  async (call, user, { store }) => {
    const number = (name: string) => wholeNumber(call.query(name), name);
    const since = number("since");
    const records = await store.auditRecords(user.accountId, {
      after: number("after") ?? 0,
      limit: Math.min(number("limit") ?? MAX_AUDIT_RECORDS, MAX_AUDIT_RECORDS),
      since: since === undefined ? undefined : since * 1000,
      newest: call.query("newest") === "true",
      installation: await store.firstAccount() === user.accountId,
    });
    const ids = new Set(
      records.flatMap(({ actor, subject }) => subject ? [actor, subject] : [actor]),
    );
    const names = await store.namesOf(user.accountId, [...ids]);
    return { status: 200, body: { records: records.map((record) => toApi(record, names)) } };
  },
);

export const verifyAudit = userRoute(
  {
    method: "POST",
    path: "/v1/audit/verify",
    needs: "audit",
    summary: "Whether the records are those that were written",
    body: AuditVerifyRequest,
    answers: { 200: AuditVerdict },
  },
  async (call, _user, { store, keptHead }) => {
    const given = call.body.kept, signed = await keptHead();
    const { head, bad } = await store.verifyAudit({
      kept: [given, signed].filter((head) => head !== undefined),
    });
    const body: AuditVerdict = {
      head: { seq: head.seq, hash: head.hash },
      bad: bad ?? null,
    };
    return { status: 200, body };
  },
);

function wholeNumber(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new OpenboxError("bad_request", `${name}: a whole number is wanted`);
}

const toApi = (record: AuditRecord, names: ReadonlyMap<string, string>): ApiRecord => ({
  seq: record.seq,
  time: new Date(record.at).toISOString(),
  account_id: record.accountId ?? null,
  action: record.action,
  outcome: record.outcome,
  actor: record.actor,
  actor_name: names.get(record.actor) ?? null,
  token_id: record.tokenId ?? null,
  source: record.source ?? null,
  request_id: record.requestId ?? null,
  subject: record.subject ?? null,
  subject_name: names.get(record.subject ?? "") ?? null,
  detail: { ...record.detail },
  process: record.process,
  uptime_ms: record.uptimeMs,
  hash: record.hash,
});
