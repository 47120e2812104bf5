import { abortable, deadline } from "../../abort.ts";
import { BackupRequest } from "../../api/backup.ts";
import { utf8 } from "../../bytes.ts";
import { OpenboxError, toOpenboxError } from "../../errors.ts";
import { log } from "../../log.ts";
import { Secret } from "../../secret.ts";
import { type Control, userRoute } from "../route.ts";
import { requireOperator } from "./ca.ts";

/** How long a reader may take for a part of it: nobody holds a snapshot by standing still. */
const PART_MS = 60_000;

/** The whole database, of all accounts, as it is when the call comes. Others go on meanwhile. */
export const backup = userRoute(
  {
    method: "POST",
    path: "/v1/backup",
    needs: "admin",
    summary: "The whole database in lines of JSON, with the CA's keys sealed inside",
    body: BackupRequest,
    answers: { 200: "application/x-ndjson" },
    refuses: ["usage", "ca_locked"],
  },
  async (call, user, control) => {
    await requireOperator(user, control);
    const { passphrase, without_ca } = call.body, { store, ca, clock } = control;
    const keys = without_ca
      ? undefined
      : await ca.backup(passphrase === undefined ? undefined : new Secret(passphrase));
    await store.recordAudit([call.audit("backup", { detail: { ca: keys !== undefined } })]);
    const extra: Record<string, string> = keys === undefined ? {} : { ca: keys };
    return { status: 200, body: stream(control, { createdAt: clock.now(), extra }) };
  },
);

function stream(
  { store }: Pick<Control, "store">,
  head: Parameters<Control["store"]["backup"]>[0],
): ReadableStream<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const late = () => new OpenboxError("unavailable", "Nobody reads the backup");
  store.backup(head, async (lines) => {
    using limit = deadline(PART_MS, late);
    await abortable(writer.ready, limit.signal);
    await abortable(writer.write(utf8(lines)), limit.signal);
  }).then(() => writer.close()).catch(async (error) => {
    log("control").error("a backup broke off: {error}", { error: toOpenboxError(error) });
    await writer.abort(error).catch(() => {}); // its reader is gone
  });
  return readable;
}
