/** Tells the control plane which runs began and ended here, for its audit: no output, and of the command what the owner allows. */
import { MAX_RUN_EVENTS } from "../api/run_events.ts";
import { type ControlClient, ControlError } from "../client/control_client.ts";
import type { Clock } from "../clock.ts";
import { toOpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import type { RunSpool } from "./run_spool.ts";

export interface ReportDeps {
  readonly control: Pick<ControlClient, "reportRuns">;
  readonly spool: RunSpool;
  readonly clock: Clock;
  /** 0 to 1. */
  random(): number;
}

/** What is wrong with the body stays so, however often it is sent. */
const NEVER_TAKEN: ReadonlySet<number> = new Set([400, 413]);

/** What comes within it goes together. */
const GATHER_MS = 500;
const FIRST_RETRY_MS = 1_000, MAX_RETRY_MS = 60_000;
/** Of a call's body, with room for its frame. */
const MAX_BYTES = 48 * 1024;

/** Until `signal` aborts, which resolves it; or for good where this is no node any more. */
export async function reportRuns(deps: ReportDeps, signal: AbortSignal): Promise<void> {
  const { control, spool, clock, random } = deps;
  let retryMs = FIRST_RETRY_MS, failing = false, most = MAX_RUN_EVENTS;
  while (!signal.aborted) {
    try {
      await spool.waiting(1, signal);
      await clock.sleep(GATHER_MS, { signal });
      let bytes = 0;
      const events = (await spool.waiting(most, signal))
        .filter((event, i) => (bytes += JSON.stringify(event).length + 1) <= MAX_BYTES || i === 0);
      const last = events.at(-1)!.n;
      try {
        await control.reportRuns({ spool: spool.id, events: [...events] }, { signal });
        spool.delivered(last);
        most = Math.min(MAX_RUN_EVENTS, most * 2);
      } catch (error) {
        if (!(error instanceof ControlError) || !NEVER_TAKEN.has(error.status)) throw error;
        // one that is refused must not hold up the others: it is looked for, and counted as missing
        if (events.length === 1) {
          log("agent", "run").error("an event of a run is not taken: {error}", { error });
          spool.drop(last);
        } else most = 1;
      }
      failing = false;
      retryMs = FIRST_RETRY_MS;
    } catch (error) {
      if (signal.aborted) return;
      const failure = toOpenboxError(error);
      if (failure.code === "node_deleted") return;
      if (!failing) log("agent", "run").warn("runs are not told yet: {error}", { error: failure });
      failing = true;
      await clock.sleep(retryMs * (0.9 + 0.2 * random()), { signal }).catch(() => {});
      retryMs = Math.min(retryMs * 2, MAX_RETRY_MS / 1.1);
    }
  }
}
