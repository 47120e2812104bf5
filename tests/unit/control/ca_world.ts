/** A control plane's CA over a database in memory, without anything else of a control plane. */
import { systemClock } from "../../../src/clock.ts";
import { type ControlCa, openControlCa } from "../../../src/control/ca.ts";
import type { ControlSettings } from "../../../src/control/settings.ts";
import { Secret } from "../../../src/secret.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import type { Store } from "../../../src/store/store.ts";
import { ENTRY } from "../../fixtures/audit_entry.ts";

export const PASSPHRASE = new Secret("five words nobody would guess");

export const openStore = (): Promise<Store> => openSqliteStore(IN_MEMORY, { clock: systemClock });

export interface CaOptions {
  readonly passphrase?: Secret;
  readonly firstStart?: boolean;
  readonly shared?: boolean;
}

/** As a control plane opens it at its start. */
export function openCa(
  source: ControlSettings["ca"],
  store: Store,
  { passphrase, firstStart = true, shared = false }: CaOptions = {},
): Promise<ControlCa> {
  let serial = 0n;
  return openControlCa(source, {
    store,
    clock: systemClock,
    nextSerial: () => Promise.resolve(++serial),
    passphrase,
    firstStart,
    shared,
  });
}

export const rotate = (
  ca: ControlCa,
  step: "init" | "update" | "finish" | "rollback" | "emergency",
  kinds?: readonly ("host" | "user")[],
): Promise<void> => ca.rotate({ step, kinds, force: false }, ENTRY);

/** A directory for a key file. */
export async function caHome() {
  const root = await Deno.makeTempDir();
  return {
    path: `${root}/control/ca_key`,
    directory: `${root}/control`,
    source: { kind: "home", path: `${root}/control/ca_key` } as const,
    [Symbol.asyncDispose]: () => Deno.remove(root, { recursive: true }),
  };
}
