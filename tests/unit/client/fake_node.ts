/** A node as `openRun` meets it: our SSH server with certificates of a CA of its own, and a handler that the test gives. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { OUTCOME_REQUEST, type RunRequest } from "../../../src/api/run.ts";
import type { DispatchAnswer, DispatchRequest } from "../../../src/api/dispatch.ts";
import { createCertAuthority } from "../../../src/ca/authority.ts";
import { generateCaKeys } from "../../../src/ca/keys.ts";
import { CertificateRefused, verifyUserCert } from "../../../src/ca/verifier.ts";
import type { ControlClient } from "../../../src/client/control_client.ts";
import type { ExecDeps } from "../../../src/client/exec.ts";
import { trustPair } from "../../../src/ca/trust.ts";
import { checkCa } from "../../../src/client/trust.ts";
import { parseServerUrl } from "../../../src/client/server_url.ts";
import { concat, text, utf8 } from "../../../src/bytes.ts";
import { systemClock } from "../../../src/clock.ts";
import { CERT_TYPE } from "../../../src/ssh/certificate.ts";
import { authorizedLine, generateKey, parseAuthorizedLine } from "../../../src/ssh/key.ts";
import type { ServerChannel } from "../../../src/ssh/channel.ts";
import { createSshServer } from "../../../src/ssh/server.ts";

export const NODE_ID = "node_00000000000000aa";
const ACCOUNT = "acc_000000000001";

export interface FakeNodeOptions {
  /** What happens on the channel once its request is read. */
  serve(request: RunRequest, channel: ServerChannel<unknown>): Promise<void>;
  /** Epoch milliseconds by the node's clock, less those by ours. */
  readonly clockAheadMs?: number;
  /** The id in its host certificate, where that is another node's. */
  readonly hostCertFor?: string;
  /** Connections to close after the version line, as a full waiting line does. */
  turnAway?: number;
  readonly subsystem?: string;
}

export interface FakeNode extends AsyncDisposable {
  readonly deps: ExecDeps;
  readonly addr: string;
  /** Connections that came. */
  readonly accepted: Socket[];
  /** Channels that were asked for something. */
  channels: number;
  /** Whether its certificate is asked about: at the authentication, with each channel and each request. */
  judged: number;
  /** Changes what the control plane certifies. */
  certify: (request: DispatchRequest) => DispatchRequest;
  /** Changes what the control plane answers. */
  change: (answer: DispatchAnswer, request: DispatchRequest) => DispatchAnswer;
}

export async function startFakeNode(options: FakeNodeOptions): Promise<FakeNode> {
  const caKeys = generateCaKeys(), hostKey = generateKey();
  let serial = 0n;
  const ca = createCertAuthority({ keys: caKeys, nextSerial: () => Promise.resolve(++serial) });
  const hostCert = await ca.issueHostCert({
    key: hostKey,
    nodeId: options.hostCertFor ?? NODE_ID,
    now: Date.now(),
  });
  const server = createSshServer<unknown>({
    identity: () => ({ key: hostKey, certificate: hostCert.blob }),
    authenticate({ username, certificate, remoteAddress }) {
      node.judged++;
      try {
        const proof = verifyUserCert(certificate, {
          authorities: [caKeys.user],
          username,
          accountId: ACCOUNT,
          nodeId: NODE_ID,
          now: Date.now() + (options.clockAheadMs ?? 0),
          remoteAddress,
        });
        return { accept: true, proof };
      } catch (error) {
        const { ours, code, message } = error as CertificateRefused;
        const banner = ours ? `openbox: ${code}: ${message}` : undefined;
        return { accept: false, reason: message, banner };
      }
    },
    acceptEnv: () => false,
    acceptSubsystem: () => true,
    permitPty: () => true,
    async onChannel(channel) {
      node.channels++;
      const request = await readRequest(channel);
      await options.serve(request, channel);
    },
  });

  const listener = createServer({ noDelay: true }, (socket) => {
    node.accepted.push(socket);
    if (options.turnAway && options.turnAway-- > 0) {
      return socket.write("SSH-2.0-x\r\n", () => socket.destroy());
    }
    server.accept(socket);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const addr = `127.0.0.1:${(listener.address() as AddressInfo).port}`;

  const dispatch = async (request: DispatchRequest): Promise<DispatchAnswer> => {
    const cert = await ca.issueUserCert({
      key: parseAuthorizedLine(request.client_pubkey),
      userId: "usr_000000000001",
      userName: "me",
      accountId: ACCOUNT,
      nodeId: NODE_ID,
      isolation: request.isolation,
      login: node.certify(request).login,
      now: Date.now(),
    });
    return node.change({
      node_id: NODE_ID,
      node_name: "mini",
      addr,
      host_pubkey: authorizedLine(hostKey),
      ca_pubkey: authorizedLine(caKeys.host),
      user_cert: `${CERT_TYPE} ${cert.blob.toBase64()}`,
      principal: "me",
      session_created: false,
      host_ca_pubkey: authorizedLine(caKeys.host),
      user_ca_pubkey: authorizedLine(caKeys.user),
      server_time: Math.floor(Date.now() / 1000),
      isolation: request.isolation!,
    }, request);
  };

  const node: FakeNode = {
    addr,
    accepted: [],
    channels: 0,
    judged: 0,
    certify: (request) => request,
    change: (answer) => answer,
    deps: {
      control: { dispatch } as Partial<ControlClient> as ControlClient,
      key: generateKey(),
      clock: systemClock,
      dial: dialTcp,
      checkCa: (answer) =>
        checkCa(
          answer,
          { kind: "trust", trust: trustPair(caKeys) },
          parseServerUrl("http://127.0.0.1:1"),
        ),
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      for (const socket of node.accepted) socket.destroy();
      await new Promise<void>((resolve) => listener.close(() => resolve()));
    },
  };
  return node;
}

function dialTcp(addr: string): Promise<Socket> {
  const { hostname, port } = new URL(`tcp://${addr}`);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    socket.once("connect", () => resolve(socket)).once("error", reject);
  });
}

/** A TCP server that is no node; disposing it closes what is open. */
export async function listen(serve: (socket: Socket) => void) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    addr: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** The u32 and its JSON; what follows stays in `input`. */
async function readRequest(channel: ServerChannel<unknown>): Promise<RunRequest> {
  let seen: Uint8Array<ArrayBuffer> = new Uint8Array();
  for (;;) {
    const length = seen.length < 4 ? undefined : new DataView(seen.buffer).getUint32(0);
    if (length !== undefined && seen.length >= 4 + length) {
      return JSON.parse(text(seen.subarray(4, 4 + length)));
    }
    const chunk = await channel.input.read();
    if (!chunk) throw new Error("the input ended within the request");
    seen = concat([seen, chunk]);
  }
}

/** Ends a channel as an agent does. */
export async function endWith(
  channel: ServerChannel<unknown>,
  code: number,
  outcome: Record<string, unknown> = { outcome: "exit", code },
): Promise<void> {
  channel.sendRequest(OUTCOME_REQUEST, utf8(JSON.stringify(outcome)));
  await channel.end({ kind: "exit", code });
}
