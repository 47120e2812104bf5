/** `openbox ca …`: the keys that sign certificates, for those who run the control plane. */
import { CA_STEPS, type CaKindStatus, type CaStatus } from "../../api/ca.ts";
import { utf8 } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import type { Host } from "../../host.ts";
import { openControl, readLogin } from "../login.ts";
import { printJson, printLine, printNote } from "../output.ts";
import { readPassphrase } from "../passphrase.ts";
import { formatTable } from "../table.ts";

interface JsonFlag {
  readonly json?: boolean;
}

export interface PassphraseFlags extends JsonFlag {
  readonly passphraseFile?: string;
}

export interface RotateFlags extends JsonFlag {
  readonly host?: boolean;
  readonly user?: boolean;
  readonly emergency?: boolean;
  readonly force?: boolean;
}

export async function caStatus(flags: JsonFlag, host: Host): Promise<void> {
  await using control = openControl(await readLogin(host), host);
  await show(await control.caStatus({ signal: host.signal }), flags, host);
}

export async function caSeal(flags: PassphraseFlags, host: Host): Promise<void> {
  const login = await readLogin(host);
  const passphrase = await readPassphrase({ file: flags.passphraseFile, confirm: true }, host);
  await using control = openControl(login, host);
  const status = await control.sealCa(passphrase, { signal: host.signal });
  if (flags.json) return printJson(status, host);
  await printLine("the CA is sealed", host);
  await printNote(
    "from its next start the control plane needs the passphrase: openbox ca unseal, or OPENBOX_CA_PASSPHRASE; copies of the key from before are not sealed",
    host,
  );
}

export async function caUnseal(flags: PassphraseFlags, host: Host): Promise<void> {
  const login = await readLogin(host);
  const passphrase = await readPassphrase({ file: flags.passphraseFile, confirm: false }, host);
  await using control = openControl(login, host);
  const status = await control.unsealCa(passphrase, { signal: host.signal });
  if (flags.json) return printJson(status, host);
  await printLine(status.sealed ? "the CA is unsealed" : "the CA was not sealed", host);
}

export async function caRotate(flags: RotateFlags, host: Host, named?: string): Promise<void> {
  const step = readStep(flags, named);
  const kinds = [...flags.host ? ["host" as const] : [], ...flags.user ? ["user" as const] : []];
  await using control = openControl(await readLogin(host), host);
  const status = await control.rotateCa({
    step,
    ...(kinds.length > 0 && { kinds }),
    force: flags.force ?? false,
  }, { signal: host.signal });
  await show(status, flags, host);
  if (!flags.json) await printNote(NEXT[step], host);
}

type Step = typeof CA_STEPS[number];

function readStep({ emergency }: RotateFlags, named: string | undefined): Step {
  const step = CA_STEPS.find((one) => one === named);
  if (emergency && (named === undefined || step === "emergency")) return "emergency";
  // a word that is typed by mistake does not cut off every node
  if (step && step !== "emergency" && !emergency) return step;
  throw new OpenboxError(
    "usage",
    named === undefined
      ? "Which step of the rotation?"
      : `${JSON.stringify(named)}${emergency ? " and --emergency" : ""} is no step of a rotation`,
    { hint: "openbox ca rotate init|update|finish|rollback, or openbox ca rotate --emergency" },
  );
}

const NEXT: Readonly<Record<Step, string>> = {
  init: "the next key is announced; once all nodes have followed: openbox ca rotate update",
  update:
    "the next key signs; once all nodes have followed: openbox ca rotate finish, or openbox ca rotate rollback",
  finish: "the old key is gone; back up the CA key again",
  rollback: "the next key is gone; all is as it was",
  emergency:
    "the old key is gone; nodes are offline until their next heartbeat, within half a minute; back up the CA key again",
};

async function show(status: CaStatus, { json }: JsonFlag, host: Host): Promise<void> {
  if (json) return printJson(status, host);
  const sealed = status.locked ? "locked: openbox ca unseal" : status.sealed ? "yes" : "no";
  await host.stdout.write(utf8(formatTable([
    ["fingerprint", status.ca_fingerprint],
    ["sealed", sealed],
    ...kindRows("host", status.host),
    ...kindRows("user", status.user),
  ])));
}

const MOST_NAMED = 10;

function kindRows(kind: string, { phase, keys, waiting, waiting_count }: CaKindStatus): string[][] {
  const [now, next] = keys;
  const names = waiting.slice(0, MOST_NAMED)
    .map(({ name, online }) => online ? name : `${name} (offline)`).join(", ");
  const more = waiting_count > MOST_NAMED ? ` and ${waiting_count - MOST_NAMED} more` : "";
  return [
    [`${kind} CA`, phase],
    [`${kind} key`, now!.fingerprint],
    ...next ? [[`${kind} key, next`, next.fingerprint]] : [],
    ...waiting_count > 0 ? [[`${kind} CA, yet to follow`, names + more]] : [],
  ];
}
