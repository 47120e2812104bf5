/** Users, tokens and rules of a control plane, made through its own calls. */
import assert from "node:assert/strict";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import type { Reply, World } from "./world.ts";

export const KEY = generateKey();

/** A 2xx answer's body. */
// deno-lint-ignore no-explicit-any -- a test reads what it expects
export async function done(reply: Promise<Reply>): Promise<any> {
  const { status, text, body } = await reply;
  assert.ok(status < 300, text);
  return body;
}

/** A token of the user, whom it makes where there is none of this name. */
export async function tokenOf(
  world: World,
  name: string,
  { rules, scopes }: { readonly rules?: readonly string[]; readonly scopes?: readonly string[] } =
    {},
): Promise<{ readonly token: string; readonly id: string; readonly userId: string }> {
  const by = { token: world.token };
  const { users } = await done(world.call("GET", "/v1/users", by));
  if (!users.some((user: { name: string }) => user.name === name)) {
    await done(world.call("POST", "/v1/users", { ...by, body: { name, rules } }));
  }
  const body = { user: name, ...(scopes && { scopes }) };
  const made = await done(world.call("POST", "/v1/tokens", { ...by, body }));
  return { token: made.token, id: made.id, userId: made.user_id };
}

export const dispatch = (world: World, token: string, body: object = {}): Promise<Reply> =>
  world.call("POST", "/v1/dispatch", {
    token,
    body: { client_pubkey: authorizedLine(KEY), ...body },
  });
