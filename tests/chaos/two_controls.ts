/**
 * Two control planes on one Postgres under a steady load, one of them killed and started again at random:
 * what was acknowledged is there, and who gets no answer hears of it soon. `deno task chaos two-controls`.
 */
import { systemClock } from "../../src/clock.ts";
import { eventually } from "../fixtures/processes.ts";
import { toOpenboxError } from "../../src/errors.ts";
import { parseCertificate, parseCertificateLine } from "../../src/ssh/certificate.ts";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import { createControlClient } from "../../src/client/control_client.ts";
import { parseServerUrl } from "../../src/client/server_url.ts";
import { MAX_AUDIT_RECORDS } from "../../src/api/audit.ts";
import { startChaosWorld } from "./world.ts";

export interface TwoControlsReport {
  readonly dispatches: number;
  readonly kills: number;
  /** Acknowledged certificates that are not on record. */
  readonly lost: number;
  /** Failed calls, by their code. */
  readonly failures: Readonly<Record<string, number>>;
  /** Of a failed call, the longest, in ms. */
  readonly slowestFailure: number;
  readonly slowestAnswer: number;
  readonly auditBad: unknown;
}

const PER_SECOND = 50;

export async function twoControls({ ms }: { readonly ms: number }): Promise<TwoControlsReport> {
  await using world = await startChaosWorld({ postgres: true, controls: 2, agents: 1 });
  const client_pubkey = authorizedLine(generateKey()), node_id = world.agents[0]!.nodeId;
  await using stack = new AsyncDisposableStack();
  const clients = world.controls.map(({ forClients }) =>
    stack.use(createControlClient({
      server: parseServerUrl(`http://127.0.0.1:${forClients.port}`, "chaos"),
      token: world.token,
    }))
  );
  const serials: string[] = [], failures = new Map<string, number>();
  let slowestFailure = 0, slowestAnswer = 0, kills = 0;

  async function dispatch(i: number): Promise<void> {
    const startedAt = performance.now();
    try {
      const { user_cert } = await clients[i % 2]!.dispatch({ node_id, client_pubkey });
      slowestAnswer = Math.max(slowestAnswer, performance.now() - startedAt);
      serials.push(String(parseCertificate(parseCertificateLine(user_cert)).serial));
    } catch (error) {
      const { code } = toOpenboxError(error);
      failures.set(code, (failures.get(code) ?? 0) + 1);
      slowestFailure = Math.max(slowestFailure, performance.now() - startedAt);
    }
  }

  const until = performance.now() + ms, stopped = new AbortController();
  const nemesis = (async () => {
    while (!stopped.signal.aborted) {
      await systemClock.sleep(1000 + 4000 * Math.random());
      const { service, healthy } = world.controls[1]!;
      await service.kill();
      kills++;
      await systemClock.sleep(1000 * Math.random());
      service.start();
      await eventually("it answers again", healthy, 30_000);
    }
  })();
  const open = new Set<Promise<void>>();
  const startedAt = performance.now();
  for (let sent = 0; performance.now() < until;) {
    const due = Math.floor((performance.now() - startedAt) / 1000 * PER_SECOND);
    for (; sent < due; sent++) {
      const one: Promise<void> = dispatch(sent).finally(() => open.delete(one));
      open.add(one);
    }
    await systemClock.sleep(5);
  }
  await Promise.all(open);
  stopped.abort();
  await nemesis;

  const { direct } = world.controls[0]!, recorded = new Set<unknown>();
  for (let after = 0;;) {
    const page = await direct.audit({ after, limit: MAX_AUDIT_RECORDS });
    for (const { action, detail } of page) if (action === "dispatch") recorded.add(detail.serial);
    after = page.at(-1)?.seq ?? after;
    if (page.length < MAX_AUDIT_RECORDS) break;
  }
  return {
    dispatches: serials.length,
    kills,
    lost: serials.filter((serial) => !recorded.has(serial)).length +
      (serials.length - new Set(serials).size),
    failures: Object.fromEntries(failures),
    slowestFailure,
    slowestAnswer,
    auditBad: (await direct.verifyAudit({ kept: undefined })).bad,
  };
}
