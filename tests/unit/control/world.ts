/** A control plane on a free port of loopback, with a database in memory, and callers of it. */
import { ENTRY } from "../../fixtures/audit_entry.ts";
import assert from "node:assert/strict";
import { formatCaKeys, generateCaKeys } from "../../../src/ca/keys.ts";
import { parseEnrollToken, signEnrollProof } from "../../../src/ca/enroll_proof.ts";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { httpStatus } from "../../../src/errors.ts";
import { newUserToken } from "../../../src/ids.ts";
import { Secret } from "../../../src/secret.ts";
import { authorizedLine, generateKey, type PrivateKey } from "../../../src/ssh/key.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import type { Store, User } from "../../../src/store/store.ts";
import { readControlSettings } from "../../../src/control/settings.ts";
import { refusalsOf } from "../../../src/control/openapi.ts";
import { ROUTES } from "../../../src/control/routes/table.ts";
import { type ControlOverrides, startControl } from "../../../src/control/start.ts";
import { fakeHost } from "../../fakes/host.ts";

/** One authority for all tests: making keys is not what they try. */
export const CA = generateCaKeys();

export interface WorldOptions extends ControlOverrides {
  readonly clock?: Clock;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // deno-lint-ignore no-explicit-any -- a test reads what it expects
  readonly body: any;
}

export interface World extends AsyncDisposable {
  readonly url: string;
  readonly store: Store;
  /** The first user's token. */
  readonly token: string;
  readonly user: User;
  call(method: string, path: string, options?: CallOptions): Promise<Reply>;
  /** A token of a new account with this user, or of the user given. */
  newAccount(name: string): Promise<{ readonly user: User; readonly token: string }>;
  enroll(options?: EnrollOptions): Promise<TestNode>;
}

export interface CallOptions {
  readonly token?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface EnrollOptions {
  readonly name?: string;
  readonly tags?: readonly string[];
  /** The user who makes the token. */
  readonly token?: string;
  readonly addr?: string;
  /** Also heard from, as an agent is at once. */
  readonly online?: boolean;
}

export interface TestNode {
  readonly id: string;
  readonly token: string;
  readonly key: PrivateKey;
  // deno-lint-ignore no-explicit-any -- a test reads what it expects
  readonly answer: any;
}

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const clock = options.clock ?? systemClock;
  const store = options.store ?? await openSqliteStore(IN_MEMORY, { clock });
  const token = newUserToken();
  const env = {
    OPENBOX_CA_KEY: formatCaKeys(CA).reveal(),
    OPENBOX_BOOTSTRAP_TOKEN: token,
    OPENBOX_ADDR: "127.0.0.1:0",
    OPENBOX_HOME: "/nonexistent/openbox",
    ...options.env,
  };
  const host = fakeHost({ env, clock });
  const control = await startControl(readControlSettings({}, host), host, { ...options, store });
  const url = `http://127.0.0.1:${control.address.port}`;
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });

  async function call(method: string, path: string, options: CallOptions = {}): Promise<Reply> {
    const { token, body } = options;
    const response = await fetch(url + path, {
      method,
      client,
      redirect: "manual",
      headers: { ...(token && { authorization: `Bearer ${token}` }), ...options.headers },
      ...(body !== undefined &&
        { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    assertDeclared(method, path, response.status);
    const json = response.headers.get("content-type")?.includes("json");
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: json ? JSON.parse(text) : undefined,
    };
  }

  async function newAccount(name: string) {
    const user = await store.createAccount(name, clock.now(), ENTRY), token = newUserToken();
    await store.addUserToken(user, {
      token: new Secret(token),
      name: "test",
      scopes: "all",
      createdAt: clock.now(),
      expiresAt: clock.now() + 3600_000,
    }, ENTRY);
    return { user, token };
  }

  return {
    url,
    store,
    token,
    user: (await store.firstUser())!,
    call,
    newAccount,
    async enroll(
      { name = "mini", tags = [], addr = "127.0.0.1:7600", online = true, ...rest } = {},
    ) {
      const made = await call("POST", "/v1/enroll-tokens", {
        token: rest.token ?? token,
        body: { tags },
      });
      const key = generateKey();
      const reply = await call("POST", "/v1/nodes/register", {
        body: { ...registration(made.body.token, key), name, addr },
      });
      assert.equal(reply.status, 201, reply.text);
      const node = { id: reply.body.node_id, token: reply.body.node_token, key };
      if (online) {
        const beat = await call("POST", "/v1/nodes/heartbeat", {
          token: node.token,
          body: { node_id: node.id },
        });
        assert.equal(beat.status, 200, beat.text);
      }
      return { ...node, answer: reply.body };
    },
    async [Symbol.asyncDispose]() {
      client.close();
      await control[Symbol.asyncDispose]();
    },
  };
}

/** What GET /openapi.json does not say of a route, no test may get from it. */
function assertDeclared(method: string, path: string, status: number): void {
  const segments = path.replace(/\?.*$/, "").split("/");
  const route = ROUTES.find((route) => {
    const wanted = route.path.split("/");
    return route.method === method && wanted.length === segments.length &&
      wanted.every((part, i) => part.startsWith(":") ? segments[i] !== "" : part === segments[i]);
  });
  if (!route || status === 500) return; // a failure of ours is declared by nobody
  const declared = [
    ...Object.keys(route.answers).map(Number),
    ...[...refusalsOf(route)].map(httpStatus),
  ];
  assert.ok(declared.includes(status), `${method} ${route.path} does not declare ${status}`);
}

/** The body of a good registration. */
export function registration(enrollToken: string, key: PrivateKey = generateKey()) {
  return {
    enroll_token: enrollToken,
    name: "mini",
    host_pubkey: authorizedLine(key),
    addr: "127.0.0.1:7600",
    os: "linux",
    arch: "amd64",
    proof: signEnrollProof(parseEnrollToken(enrollToken)!, key),
  };
}

/** What every refusal has, and nothing of the inside. */
export function assertRefused(reply: Reply, status: number, code: string): void {
  assert.equal(reply.status, status, reply.text);
  assert.equal(reply.body.code, code, reply.text);
  assert.equal(typeof reply.body.error, "string");
  assert.match(reply.body.request_id, /^req_[0-9a-f]{12}$/);
  assert.doesNotMatch(reply.text, /sqlite|select |\.ts\b|node_modules|at \w+ \(/i);
}
