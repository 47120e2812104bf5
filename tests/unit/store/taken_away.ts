/** That a broken audit keeps nobody from taking something away, on every database. */
import assert from "node:assert/strict";
import { Secret } from "../../../src/secret.ts";
import type { AuditEntry } from "../../../src/store/audit.ts";
import type { Store, User } from "../../../src/store/store.ts";
import { addEnrollToken, enroll, userToken } from "../../contract/store_suite.ts";
import { ENTRY } from "../../fixtures/audit_entry.ts";

const NOW = Date.UTC(2026, 0, 1);

/** What the audit of the store under test is to take no record of. */
export const UNRECORDED: AuditEntry = { ...ENTRY, actor: "unrecorded" };

export async function takenAwayUnrecorded(store: Store, user: User): Promise<void> {
  const { accountId } = user, change = { now: NOW, force: true, keepMade: false };
  const stolen = new Secret("obx_stolen");
  const token = await store.addUserToken(user, userToken(stolen), ENTRY);
  const bob = await store.addUser({ accountId, name: "bob", createdBy: user.id, now: NOW }, ENTRY);
  const rule = (await store.rules(accountId, user.id))[0]!;
  const node = await enroll(store, user, "mini");
  await addEnrollToken(store, user, "s");
  const enrolling = (await store.enrollTokens(accountId, NOW))[0]!;
  const before = await store.auditHead();
  assert.equal(await store.revokeUserToken(accountId, token, change, UNRECORDED), true);
  assert.equal(await store.userByToken(stolen, NOW), undefined);
  assert.equal(await store.removeRule(accountId, rule.id, change, UNRECORDED), true);
  assert.equal((await store.rules(accountId, user.id)).length, 2);
  assert.equal(await store.removeUser(accountId, bob.id, change, UNRECORDED), true);
  assert.equal(await store.user(accountId, bob.id), undefined);
  assert.equal(await store.deleteNode(accountId, node.id, NOW, UNRECORDED), true);
  assert.equal(await store.node(accountId, node.id), undefined);
  assert.equal(await store.revokeEnrollToken(accountId, enrolling.id, NOW, UNRECORDED), true);
  assert.deepEqual(await store.enrollTokens(accountId, NOW), []);
  assert.deepEqual(await store.auditHead(), before);
}
