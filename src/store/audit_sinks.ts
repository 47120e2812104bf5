/** How far the audit was sent to a place outside, and who sends it there now. */
import type { Transaction } from "kysely";
import type { Tables } from "./tables.ts";

type Tx = Transaction<Tables>;

/** For one batch; whoever dies with it leaves the sink to the others after that. */
const HOLD_MS = 30_000;

/** The last record that was sent; undefined while another process sends. */
export async function holdSink(
  tx: Tx,
  sink: string,
  { holder, now }: { readonly holder: string; readonly now: number },
): Promise<number | undefined> {
  const held_until = now + HOLD_MS;
  await tx.insertInto("audit_sinks").values({ sink, account_id: null, seq: 0, holder, held_until })
    .onConflict((conflict) => conflict.doNothing()).execute();
  const row = await tx.updateTable("audit_sinks").set({ holder, held_until })
    .where("sink", "=", sink)
    .where(({ eb }) => eb("holder", "=", holder).or("held_until", "<", now))
    .returning("seq").executeTakeFirst();
  return row?.seq;
}

/** Nothing where another process took over meanwhile: it sends the same again. */
export async function advanceSink(
  tx: Tx,
  sink: string,
  holder: string,
  seq: number,
): Promise<void> {
  await tx.updateTable("audit_sinks").set({ seq })
    .where("sink", "=", sink).where("holder", "=", holder).execute();
}
