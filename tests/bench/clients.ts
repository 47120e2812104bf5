/** Our client against our agent and against stock sshd, in this process: the servers alone differ. */
import { connect } from "node:net";
import type { Socket } from "node:net";
import type { DispatchAnswer } from "../../src/api/dispatch.ts";
import { connectSsh, type SshConnection } from "../../src/ssh/client.ts";
import { parseCertificate, parseCertificateLine } from "../../src/ssh/certificate.ts";
import { authorizedLine, generateKey, type PrivateKey } from "../../src/ssh/key.ts";
import type { Bench } from "./main.ts";

const key: PrivateKey = generateKey();
let plain: { readonly answer: DispatchAnswer; readonly at: number } | undefined;

export interface AgentPlace {
  readonly isolation?: string;
  readonly session?: string;
}

const dispatch = (
  { world }: Bench,
  { isolation = "native", session }: AgentPlace,
): Promise<DispatchAnswer> =>
  world.control.dispatch({
    node_id: world.nodeId,
    client_pubkey: authorizedLine(key),
    isolation,
    ...(session !== undefined && { session_id: session }),
  });

/** A certificate lives five minutes; one is used for four. */
async function plainCertificate(bench: Bench): Promise<DispatchAnswer> {
  if (!plain || Date.now() - plain.at > 240_000) {
    plain = { answer: await dispatch(bench, {}), at: Date.now() };
  }
  return plain.answer;
}

export async function connectAgent(bench: Bench, place?: AgentPlace): Promise<SshConnection> {
  const answer = place ? await dispatch(bench, place) : await plainCertificate(bench);
  const [host, port] = answer.addr.split(":");
  return await open(
    await dial(host!, Number(port)),
    answer.principal,
    key,
    parseCertificateLine(answer.user_cert),
  );
}

export async function connectSshd({ ssh }: Bench): Promise<SshConnection> {
  return await open(await dial("127.0.0.1", ssh.port), ssh.login, ssh.key, ssh.certificate);
}

const open = (
  socket: Socket,
  username: string,
  key: PrivateKey,
  certificate: Uint8Array,
): Promise<SshConnection> =>
  connectSsh({
    socket,
    username,
    key,
    certificate,
    verifyHost: (blob) => parseCertificate(blob).key,
    signal: AbortSignal.timeout(30_000),
  });

function dial(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** Runs a line and throws away what it prints. */
export async function exec(connection: SshConnection, line: string): Promise<void> {
  await using channel = await connection.openExec(line);
  channel.endInput();
  await Promise.all([drain(channel.stdout), drain(channel.stderr)]);
  const exit = await channel.exit;
  if (exit?.kind !== "exit" || exit.code !== 0) throw new Error(`${line}: ${JSON.stringify(exit)}`);
}

async function drain(source: { read(): Promise<Uint8Array | null> }): Promise<void> {
  while (await source.read());
}
