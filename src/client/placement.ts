/** Where a call runs: the node that the control plane chose, and the certificate that says we may. */
import type { AbortOptions } from "../abort.ts";
import type { DispatchAnswer } from "../api/dispatch.ts";
import { OPTION } from "../ca/names.ts";
import type { CaTrust } from "../ca/trust.ts";
import { OpenboxError } from "../errors.ts";
import { isNodeId } from "../ids.ts";
import { formatIsolation } from "../isolation/spec.ts";
import { type Certificate, parseCertificate } from "../ssh/certificate.ts";
import { type PrivateKey, splitLine } from "../ssh/key.ts";
import type { ControlClient } from "./control_client.ts";
import { type Target, toDispatchRequest } from "./target.ts";
import type { CaAnswer } from "./trust.ts";

export interface PlacementDeps {
  readonly control: ControlClient;
  readonly key: PrivateKey;
  /** The CA to believe, or a refusal: what was pinned decides. */
  checkCa(answer: CaAnswer): CaTrust | Promise<CaTrust>;
}

export interface Placement {
  readonly answer: DispatchAnswer;
  /** Who may vouch for the node. */
  readonly ca: CaTrust;
  /** How much longer the certificate holds, in milliseconds, by the control plane's clock. */
  readonly lifeMs: number;
}

/** Asks the control plane, and holds its answer against what was asked. */
export async function place(
  target: Target,
  deps: PlacementDeps,
  { signal }: Required<AbortOptions>,
): Promise<Placement> {
  const answer = await deps.control.dispatch(toDispatchRequest(target, deps.key), { signal });
  const ca = await deps.checkCa(answer);
  const certificate = parseCertificate(splitLine(answer.user_cert).blob);
  checkAnswer(answer, certificate, target);
  const lifeMs = (Number(certificate.validBefore) - answer.server_time) * 1000;
  return { answer, ca, lifeMs };
}

/** What the control plane answered must be what was asked for, whoever speaks for it. */
function checkAnswer(
  answer: DispatchAnswer,
  certificate: Certificate,
  target: Target,
): void {
  if (target.node !== undefined && isNodeId(target.node) && answer.node_id !== target.node) {
    throw new OpenboxError(
      "host_key_mismatch",
      `The control plane answered with ${answer.node_id} when asked for ${target.node}`,
    );
  }
  const login = certificate.critical.get(OPTION.login);
  if (login !== target.login) {
    throw new OpenboxError(
      "login_not_allowed",
      `The control plane certified ${login ?? "no login"}; ${target.login ?? "none"} was asked for`,
      { hint: "is it older than this openbox?" },
    );
  }
  if (!target.isolation) return;
  const isolation = formatIsolation(target.isolation);
  if (answer.isolation !== isolation) {
    throw new OpenboxError(
      "isolation_not_allowed",
      `The control plane allows ${answer.isolation}; ${isolation} was asked for`,
    );
  }
}
