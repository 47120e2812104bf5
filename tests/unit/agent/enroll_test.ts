import assert from "node:assert/strict";
import { enroll, type Enrollment } from "../../../src/agent/enroll.ts";
import { hashEnrollToken } from "../../../src/agent/state.ts";
import type { RegisterAnswer, RegisterRequest } from "../../../src/api/enroll.ts";
import {
  formatEnrollToken,
  parseEnrollToken,
  verifyEnrollProof,
} from "../../../src/ca/enroll_proof.ts";
import { caFingerprint, generateCaKeys } from "../../../src/ca/keys.ts";
import type { ControlClient } from "../../../src/client/control_client.ts";
import { newEnrollSecret } from "../../../src/ids.ts";
import { Secret } from "../../../src/secret.ts";
import { authorizedLine, generateKey, parseAuthorizedLine } from "../../../src/ssh/key.ts";
import { ACCOUNT_ID, CA, hostCertLine, NODE_ID, SERVER } from "./world.ts";

const token = { secret: new Secret(newEnrollSecret()), fingerprint: caFingerprint(CA) };

const wanted: Enrollment = {
  server: SERVER,
  token,
  name: "mini",
  tags: ["gpu", "prod"],
  addr: "10.0.0.4:7600",
  insecureHttp: false,
  tlsCa: undefined,
};

/** A control plane that takes every registration; `change` is what is wrong with its answer. */
function registering(
  change: (answer: RegisterAnswer, request: RegisterRequest) => Promise<Partial<RegisterAnswer>>,
) {
  const requests: RegisterRequest[] = [];
  const control: Partial<ControlClient> = {
    async register(request) {
      requests.push(request);
      const answer: RegisterAnswer = {
        node_id: NODE_ID,
        host_cert: await hostCertLine(parseHost(request), { now: Date.now() }),
        ca_pubkey: authorizedLine(CA.user),
        node_token: "obn_token",
        host_ca_pubkey: authorizedLine(CA.host),
        user_ca_pubkey: authorizedLine(CA.user),
        account_id: ACCOUNT_ID,
        tags: ["gpu"],
      };
      return { ...answer, ...await change(answer, request) };
    },
  };
  return { requests, control: control as ControlClient };
}

const asKey = (request: RegisterRequest) => parseAuthorizedLine(request.host_pubkey);
/** The authority asks for a private key's public half only. */
const parseHost = (request: RegisterRequest) => asKey(request) as ReturnType<typeof generateKey>;

Deno.test("ENR-4: a machine enrolls with the proof that it holds its host key", async () => {
  const { control, requests } = registering(() => Promise.resolve({}));
  const { state, droppedTags } = await enroll(wanted, { control });
  const [request] = requests;
  assert.ok(verifyEnrollProof(request!.proof!, token, asKey(request!)));
  assert.deepEqual(parseEnrollToken(request!.enroll_token), token);
  assert.equal(authorizedLine(state.hostKey), request!.host_pubkey);
  assert.deepEqual(droppedTags, ["prod"]);
  assert.equal(state.nodeId, NODE_ID);
  assert.equal(state.enrollTokenHash, hashEnrollToken(token));
  assert.ok(!JSON.stringify(state, (_, v) => typeof v === "bigint" ? `${v}` : v).includes("obn_"));
});

Deno.test("each enrollment makes a host key of its own", async () => {
  const { control, requests } = registering(() => Promise.resolve({}));
  await enroll(wanted, { control });
  await enroll(wanted, { control });
  assert.notEqual(requests[0]!.host_pubkey, requests[1]!.host_pubkey);
});

Deno.test("CERT-26: a control plane that names another CA than the token is refused", async () => {
  const other = generateCaKeys();
  for (
    const swapped of [
      { host_ca_pubkey: authorizedLine(other.host) },
      { user_ca_pubkey: authorizedLine(other.user) },
      { host_ca_pubkey: authorizedLine(CA.user), user_ca_pubkey: authorizedLine(CA.host) },
    ]
  ) {
    const { control } = registering(() => Promise.resolve(swapped));
    await assert.rejects(enroll(wanted, { control }), { code: "ca_changed" });
  }
});

Deno.test("CERT-24: a host certificate that is not this node's is not taken", async () => {
  const cases: ((request: RegisterRequest) => Promise<string>)[] = [
    () => hostCertLine(generateKey()),
    (request) => hostCertLine(parseHost(request), { nodeId: "node_00000000000000bb" }),
    (request) => hostCertLine(parseHost(request), { keys: generateCaKeys() }),
    (request) => Promise.resolve(request.host_pubkey),
  ];
  for (const host_cert of cases) {
    const { control } = registering(async (_, request) => ({
      host_cert: await host_cert(request),
    }));
    await assert.rejects(enroll(wanted, { control }), { code: "host_key_mismatch" });
  }
});

Deno.test("a machine whose clock is off enrolls all the same", async () => {
  const { control } = registering(async (_, request) => ({
    host_cert: await hostCertLine(parseHost(request), { now: Date.now() + 7_200_000 }),
  }));
  await enroll(wanted, { control });
});

Deno.test("the token's text is not in an error", async () => {
  const { control } = registering(() => Promise.reject(new Error("no answer")));
  const text = formatEnrollToken(token).reveal().slice(7, 20);
  await assert.rejects(
    enroll(wanted, { control }),
    (error: Error) => !`${error.stack}`.includes(text),
  );
});
