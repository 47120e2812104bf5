/** `openbox revoke`: what leaked, left or was lost is believed no more. */
import type { RevocationRequest } from "../../api/revocations.ts";
import type { ControlClient } from "../../client/control_client.ts";
import { findNode } from "../../client/find_node.ts";
import { OpenboxError } from "../../errors.ts";
import type { Host } from "../../host.ts";
import { openControl, readLogin } from "../login.ts";
import { printJson, printLine, printNote } from "../output.ts";

export interface RevokeFlags {
  readonly reason?: string;
  readonly json?: boolean;
}

type Kind = RevocationRequest["kind"];

export const REVOCABLE: readonly Kind[] = ["token", "user", "node", "cert", "key"];

export async function revoke(
  flags: RevokeFlags,
  host: Host,
  word: string,
  wanted: string,
): Promise<void> {
  const kind = REVOCABLE.find((known) => known === word);
  if (!kind) {
    throw new OpenboxError("usage", `openbox cannot revoke a ${word}`, {
      hint: `openbox revoke ${REVOCABLE.join("|")} ID`,
    });
  }
  await using control = openControl(await readLogin(host), host);
  const { signal } = host, { reason } = flags;
  const id = await findId(kind, wanted, control, signal);
  const answer = await control.revoke({ kind, id, ...(reason && { reason }) }, { signal });
  if (flags.json) return printJson(answer, host);
  await printLine(`revoked ${kind} ${answer.id}`, host);
  await printNote(
    kind === "node"
      ? "its agent is told with its next heartbeat, and ends"
      : "refused here from now on; each node refuses it with its next heartbeat, within a minute",
    host,
  );
}

/** A node may be named by its name, as everywhere. */
const findId = async (
  kind: Kind,
  wanted: string,
  control: ControlClient,
  signal: AbortSignal,
): Promise<string> => kind === "node" ? (await findNode(control, wanted, { signal })).id : wanted;
