/** The commands for whoever runs a control plane: its audit, its backup and its CA. */
import { buildRouteMap } from "@stricli/core";
import { command, type Context } from "./command.ts";
import type { AuditFlags, AuditVerifyFlags } from "./commands/audit.ts";
import type { BackupFlags, RestoreFlags } from "./commands/backup.ts";
import type { PassphraseFlags, RotateFlags } from "./commands/ca.ts";
import { argument, JSON_FLAG, type JsonFlags, switchFlag, textFlag } from "./flags.ts";

const auditShow = command<AuditFlags>({
  brief: "Show who did what: the last records, or those since a time",
  about: `A record a line, the newest last; with --json each is a JSON object on a line of its own.

Examples:
  openbox audit --follow
  openbox audit --since 7d --json | jq -r 'select(.outcome == "denied")'
  openbox audit verify`,
  parameters: {
    flags: {
      since: textFlag("TIME", "From then on: 2h, 7d, or a date such as 2026-01-31"),
      limit: textFlag("N", "At most so many (default 100, with --since all)"),
      follow: switchFlag("Go on with what happens from now on"),
      json: JSON_FLAG,
    },
    aliases: { f: "follow" },
  },
  load: async () => (await import("./commands/audit.ts")).audit,
});

const auditVerify = command<AuditVerifyFlags>({
  brief: "Check that no record was changed, moved or taken away",
  about:
    `The first record that is not as it was written is named, and the exit code is 1. With --head it is held against a head that you wrote down before, so that records taken from the end are found too.

Examples:
  openbox audit verify
  openbox audit verify --head 1042:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`,
  parameters: {
    flags: {
      head: textFlag("SEQ:HASH", "A head of the audit that was written down before"),
      json: JSON_FLAG,
    },
  },
  load: async () => (await import("./commands/audit.ts")).auditVerify,
});

export const backup = command<BackupFlags, [string]>({
  brief: "Back up the control plane's database, its CA's keys sealed inside",
  about:
    `The control plane goes on meanwhile. Where the CA is not sealed, its keys go into the file under a passphrase that is asked for.

Examples:
  openbox backup box-$(date +%F).backup
  openbox backup --passphrase-file /etc/openbox/backup-passphrase nightly.backup`,
  parameters: {
    flags: {
      passphraseFile: textFlag("FILE", "The passphrase for the CA's keys; - is stdin"),
      withoutCa: switchFlag("Leave the CA's keys out"),
      json: JSON_FLAG,
    },
    positional: { kind: "tuple", parameters: [argument("FILE", "A new file")] },
  },
  load: async () => (await import("./commands/backup.ts")).backup,
});

export const restore = command<RestoreFlags, [string]>({
  brief: "Put a backup in the place of the database of a stopped control plane",
  about:
    `Run it on the control plane's machine. What was there stays beside it; revocations that were made since the backup hold on. On Postgres it goes into an empty database.

Examples:
  openbox restore box-2026-01-31.backup
  OPENBOX_DB=postgres://… openbox restore box-2026-01-31.backup`,
  parameters: {
    flags: {
      db: textFlag("FILE", "The database (OPENBOX_DB; default control/openbox.db in the home)"),
      json: JSON_FLAG,
    },
    positional: { kind: "tuple", parameters: [argument("FILE", "The backup")] },
  },
  load: async () => (await import("./commands/backup.ts")).restore,
});

export const caKeygen = command<JsonFlags>({
  brief: "Print a new pair of CA keys, for `control --ca`",
  about: `Examples:
  (umask 077; openbox ca-keygen > ca_key)`,
  parameters: { flags: { json: JSON_FLAG } },
  load: async () => (await import("./commands/ca_keygen.ts")).caKeygen,
});

const passphraseFile = textFlag("FILE", "File with the passphrase; - is stdin");

const caStatus = command<JsonFlags>({
  brief: "Show the CA: its keys, its rotation, and which nodes have yet to follow",
  parameters: { flags: { json: JSON_FLAG } },
  load: async () => (await import("./commands/ca.ts")).caStatus,
});

const caSeal = command<PassphraseFlags>({
  brief: "Put the CA's keys under a passphrase",
  about:
    `The passphrase is asked for without echo, or read from --passphrase-file, OPENBOX_CA_PASSPHRASE or stdin. After its next start the control plane issues no certificate until \`openbox ca unseal\`.

Examples:
  openbox ca seal
  openbox ca seal --passphrase-file passphrase`,
  parameters: { flags: { passphraseFile, json: JSON_FLAG } },
  load: async () => (await import("./commands/ca.ts")).caSeal,
});

const caUnseal = command<PassphraseFlags>({
  brief: "Tell a control plane that started sealed the passphrase of its CA",
  about: `Examples:
  openbox ca unseal
  pass show openbox-ca | openbox ca unseal --passphrase-file -`,
  parameters: { flags: { passphraseFile, json: JSON_FLAG } },
  load: async () => (await import("./commands/ca.ts")).caUnseal,
});

const caRotate = command<RotateFlags, [string?]>({
  brief: "Replace the CA's keys, in steps that cut nobody off, or at once",
  about:
    `init announces the next key. update signs with it, for every node that knows it. finish drops the old one. rollback, before that, drops the next one. Each step waits until the nodes that are online have followed. Logins and nodes follow by themselves.

Examples:
  openbox ca rotate init
  openbox ca status                       # which nodes have yet to follow
  openbox ca rotate update && sleep 60 && openbox ca rotate finish
  openbox ca rotate --emergency --user    # the user CA's key was copied: at once`,
  parameters: {
    flags: {
      host: switchFlag("Only the host CA: who answers"),
      user: switchFlag("Only the user CA: who calls"),
      emergency: switchFlag("A new key at once; nodes are offline until their next heartbeat"),
      force: switchFlag("Also where nodes have not followed; they are offline until they do"),
      json: JSON_FLAG,
    },
    positional: {
      kind: "tuple",
      parameters: [{
        ...argument("STEP", "init, update, finish or rollback", {
          proposeCompletions: () => Promise.resolve(["init", "update", "finish", "rollback"]),
        }),
        optional: true,
      }],
    },
  },
  load: async () => (await import("./commands/ca.ts")).caRotate,
});

export const audit = buildRouteMap<string, Context>({
  routes: { show: auditShow, verify: auditVerify },
  defaultCommand: "show",
  docs: { brief: "Show and check the record of who did what" },
});

export const ca = buildRouteMap<string, Context>({
  routes: { status: caStatus, rotate: caRotate, seal: caSeal, unseal: caUnseal },
  docs: { brief: "Show, rotate and seal the CA of a control plane" },
});
