/** A token that is revoked between two strikes, and what can be done a minute later with it and its certificate. */
import type { DispatchAnswer } from "../../src/api/dispatch.ts";
import { verifyHostCert } from "../../src/ca/verifier.ts";
import { createControlClient } from "../../src/client/control_client.ts";
import { parseServerUrl } from "../../src/client/server_url.ts";
import { toOpenboxError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { AuthRefusedError, connectSsh } from "../../src/ssh/client.ts";
import { parseCertificateLine } from "../../src/ssh/certificate.ts";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import { tcpTransport } from "../../src/transport/tcp.ts";
import type { ChaosWorld } from "./world.ts";

export interface RevokedToken {
  readonly id: string;
  readonly token: Secret;
  readonly answer: DispatchAnswer;
  /** When it was acknowledged, by `performance.now()`. */
  readonly at: number;
}

/** From the acknowledgement on, everywhere. */
const EVERYWHERE_MS = 60_000;
/** The certificate ends by itself then. */
const CERTIFICATE_MS = 270_000;

const KEY = generateKey();

/** Made, used once, and revoked: nothing is broken at this moment. */
export async function revokeOne(world: ChaosWorld, name: string): Promise<RevokedToken> {
  const [control] = world.controls;
  const { id, token: text } = await control!.direct.createToken({ name });
  const token = new Secret(text);
  await using client = clientOf(world, token);
  const answer = await client.dispatch({
    node_id: world.agents[0]!.nodeId,
    client_pubkey: authorizedLine(KEY),
  });
  await control!.direct.deleteToken(id, { force: false, keepMade: false });
  return { id, token, answer, at: performance.now() };
}

/** The second: of failed tokens there were too many from here. A good one is never told so. */
const REFUSED = ["unauthorized", "too_many"];

/** Whether it is long enough ago, and its certificate still good by itself. */
export const isRipe = ({ at }: RevokedToken): boolean =>
  performance.now() - at > EVERYWHERE_MS && performance.now() - at < CERTIFICATE_MS;

/** What was accepted though it was revoked; undefined where nothing was. */
export async function accepted(
  world: ChaosWorld,
  { token, answer }: RevokedToken,
): Promise<string | undefined> {
  await using client = clientOf(world, token);
  try {
    await client.dispatch({ node_id: answer.node_id, client_pubkey: authorizedLine(KEY) });
    return "a dispatch";
  } catch (error) {
    const { code } = toOpenboxError(error);
    if (!REFUSED.includes(code)) throw error;
  }
  const signal = AbortSignal.timeout(10_000);
  const socket = await tcpTransport.dial(answer.addr, { signal });
  try {
    await using _ = await connectSsh({
      socket,
      username: answer.principal,
      key: KEY,
      certificate: parseCertificateLine(answer.user_cert),
      verifyHost: (certificate) =>
        verifyHostCert(certificate, {
          authorities: [world.ca.host],
          nodeId: answer.node_id,
          now: Date.now(),
        }).key,
      signal,
    });
    return "its certificate, by the node";
  } catch (error) {
    if (error instanceof AuthRefusedError) return undefined;
    throw error;
  } finally {
    socket.destroy();
  }
}

const clientOf = (world: ChaosWorld, token: Secret) =>
  createControlClient({
    server: parseServerUrl(`http://127.0.0.1:${world.controls[0]!.forClients.port}`, "chaos"),
    token,
  });
