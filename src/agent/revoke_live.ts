/** What a new revocation means for what goes on already: ended, unless the node's owner keeps it. */
import type { VerifiedUser } from "../ca/verifier.ts";
import type { RevokedEntry } from "../client/revocation_list.ts";
import { log } from "../log.ts";
import type { SessionTable } from "../session/table.ts";
import type { SshServer } from "../ssh/server.ts";
import type { LiveRuns } from "./live_runs.ts";
import type { Revocations } from "./revocations.ts";
import type { AgentRules } from "./rules.ts";

export interface RevokeLiveDeps {
  readonly revocations: Pick<Revocations, "revoked">;
  readonly runs: Pick<LiveRuns, "count" | "end">;
  readonly ssh: Pick<SshServer<VerifiedUser>, "close">;
  readonly sessions: Pick<SessionTable, "list" | "end">;
  readonly rules: Pick<AgentRules, "onRevoke">;
}

/** How long a run has to end and to tell its caller, before the connection closes under it. */
const TELL_MS = 5_000;

/**
 * `added` is what the list names since a moment. New channels are refused in any case. The sessions of a
 * user end with him; those of a token stay: they are the user's, who may have another.
 */
export async function revokeLive(
  added: readonly RevokedEntry[],
  { revocations, runs, ssh, sessions, rules }: RevokeLiveDeps,
): Promise<void> {
  if (added.length === 0) return;
  const why = (user: VerifiedUser) => revocations.revoked(user);
  const live = runs.count(why);
  if (rules.onRevoke === "keep") {
    if (live > 0) log("agent", "revocation").warn("revoked; {live} runs are kept", { live });
    return;
  }
  let late!: ReturnType<typeof setTimeout>;
  const patience = new Promise<void>((resolve) => late = setTimeout(resolve, TELL_MS));
  await Promise.race([runs.end(why), patience]);
  clearTimeout(late);
  const closed = ssh.close((user) => why(user) !== undefined);
  if (closed > 0 || live > 0) {
    log("agent", "revocation").warn("revoked; {live} runs ended, {closed} connections closed", {
      live,
      closed,
    });
  }
  const users = new Set(added.flatMap(({ kind, id }) => kind === "user" ? [id] : []));
  for (const { userId, name } of sessions.list().filter(({ userId }) => users.has(userId))) {
    await sessions.end({ userId, name });
    log("agent", "session").info("session ended: its user was revoked", { session: name });
  }
}
