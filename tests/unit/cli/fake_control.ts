/** A control plane for the CLI's tests: the calls that the commands make, answered from a few fields that a test may change. */
import { caFingerprint, generateCaKeys } from "../../../src/ca/keys.ts";
import type { Node } from "../../../src/api/nodes.ts";
import { authorizedLine } from "../../../src/ssh/key.ts";

export interface FakeControl extends AsyncDisposable {
  readonly url: string;
  readonly token: string;
  fingerprint: string;
  /** Requests so far, such as `GET /v1/nodes?tag=x {}`. */
  readonly requests: string[];
  nodes: Node[];
  tokenExpiresAt: number | undefined;
  /** From now on it names another CA. */
  swapCa(): void;
}

export const aNode = (fields: Partial<Node> = {}): Node => ({
  id: "node_0000000000000001",
  name: "mac",
  addr: "10.0.0.4:7600",
  os: "darwin",
  arch: "arm64",
  tags: ["mac", "build"],
  last_seen: 1_767_225_600,
  created_at: 1_767_225_600,
  online: true,
  ...fields,
});

/** A header that every server should send, and Deno.serve does not. */
const now = () => ({ date: new Date().toUTCString() });

export interface FakeControlOptions {
  /** Serve HTTPS with this certificate. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

export function startFakeControl({ tls }: FakeControlOptions = {}): FakeControl {
  const token = "obx_0123456789012345678901234567890123456789";
  let keys = generateCaKeys();
  const error = (status: number, code: string, text: string) =>
    Response.json({ error: text, code }, { status });

  const answer = async (request: Request): Promise<Response> => {
    const { pathname, search } = new URL(request.url);
    const body = await request.text();
    control.requests.push(`${request.method} ${pathname}${search} ${body || "{}"}`);
    if (pathname === "/health") return Response.json({ status: "ok" }, { headers: now() });
    if (request.headers.get("authorization") !== `Bearer ${token}`) {
      return error(401, "unauthorized", "this token is not known here");
    }
    const [, , resource, id] = pathname.split("/");
    const node = control.nodes.find((node) => node.id === id);
    if (resource === "whoami") {
      return Response.json({
        user_id: "usr_0123456789ab",
        name: "me",
        account_id: "acc_0123456789ab",
        host_ca_pubkey: authorizedLine(keys.host),
        user_ca_pubkey: authorizedLine(keys.user),
        token_expires_at: control.tokenExpiresAt,
      });
    }
    if (resource === "enroll-tokens") {
      const { ttl_seconds } = JSON.parse(body);
      return Response.json({
        token: "enroll_x.y",
        server: "http://elsewhere.example",
        expires_at: Math.floor(Date.now() / 1000) + ttl_seconds,
        ca_fingerprint: control.fingerprint,
      }, { status: 201 });
    }
    if (resource === "dispatch") return error(404, "node_not_found", 'no node matches tag "x"');
    if (id === undefined) return Response.json({ nodes: control.nodes });
    if (!node) return error(404, "node_not_found", "no such node");
    if (request.method === "PATCH") Object.assign(node, JSON.parse(body));
    if (request.method === "DELETE") {
      control.nodes = control.nodes.filter((other) => other !== node);
      return new Response(null, { status: 204 });
    }
    return Response.json(node);
  };

  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {}, ...tls }, answer);
  const control: FakeControl = {
    url: `${tls ? "https" : "http"}://127.0.0.1:${server.addr.port}`,
    token,
    fingerprint: caFingerprint(keys),
    requests: [],
    nodes: [aNode()],
    tokenExpiresAt: undefined,
    swapCa() {
      keys = generateCaKeys();
      control.fingerprint = caFingerprint(keys);
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return control;
}
