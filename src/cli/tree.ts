/** The commands of openbox, their flags and their help. What each does is in `commands/`, loaded when it is asked for. */
import { buildRouteMap } from "@stricli/core";
import { command, type Context } from "./command.ts";
import type { AuditFlags, AuditVerifyFlags } from "./commands/audit.ts";
import type { AgentFlags } from "./commands/agent.ts";
import type { PassphraseFlags, RotateFlags } from "./commands/ca.ts";
import type { ControlFlags } from "./commands/control.ts";
import type { LoginFlags } from "./commands/login.ts";
import type { NodeTagFlags, NodeTokenFlags } from "./commands/node.ts";
import type { NodesFlags } from "./commands/nodes.ts";
import type { SessionsFlags } from "./commands/sessions.ts";
import { argument, JSON_FLAG, listFlag, switchFlag, textFlag } from "./flags.ts";
import { nodeNames, sessionNames, tagNames } from "./propose.ts";
import { RUN_FLAGS } from "./run_flags.ts";

interface JsonFlags {
  readonly json?: boolean;
}

const node = () => argument("NODE", "Its id, or its name", { proposeCompletions: nodeNames });

const login = command<LoginFlags>({
  brief: "Log this machine in to a control plane",
  about: `The token is asked for without echo, or read from --token-file, stdin or OPENBOX_TOKEN.
The CA of the control plane is pinned: another one is refused from then on.

Examples:
  openbox login --server https://box.example.com
  openbox login --server https://box.example.com --token-file token --ca-fingerprint SHA256:…`,
  parameters: {
    flags: {
      server: textFlag("URL", "The control plane (OPENBOX_SERVER; default http://127.0.0.1:8080)"),
      tokenFile: textFlag("FILE", "File with the token; - is stdin"),
      token: textFlag("TOKEN", "The token itself; it shows in `ps`"),
      caFingerprint: textFlag("SHA256:…", "Refuse any CA but this one (OPENBOX_CA_FINGERPRINT)"),
      insecureHttp: switchFlag("Take plain HTTP to another machine (OPENBOX_INSECURE_HTTP)"),
      tlsCa: textFlag("FILE", "Trust this certificate too, PEM (OPENBOX_TLS_CA)"),
      json: JSON_FLAG,
    },
  },
  load: async () => (await import("./commands/login.ts")).login,
});

const logout = command<JsonFlags>({
  brief: "Forget the login of this machine",
  parameters: { flags: { json: JSON_FLAG } },
  load: async () => (await import("./commands/logout.ts")).logout,
});

const whoami = command<JsonFlags>({
  brief: "Show who is logged in, and where",
  parameters: { flags: { json: JSON_FLAG } },
  load: async () => (await import("./commands/whoami.ts")).whoami,
});

const nodes = command<NodesFlags>({
  brief: "List the nodes",
  about: `Examples:
  openbox nodes --tag gpu
  openbox nodes --json | jq -r '.nodes[] | select(.online) | .name'`,
  parameters: {
    flags: {
      tag: textFlag("TAG", "Only those with this tag", { proposeCompletions: tagNames }),
      json: JSON_FLAG,
    },
    aliases: { t: "tag" },
  },
  load: async () => (await import("./commands/nodes.ts")).nodes,
});

const nodeToken = command<NodeTokenFlags>({
  brief: "Print the command that makes another machine a node",
  about: `The token in it works once, and for a while.

Examples:
  openbox node token --tag gpu --ttl 1h`,
  parameters: {
    flags: {
      tag: listFlag("TAG", "A tag that the node will have; repeat it for more", {
        proposeCompletions: tagNames,
      }),
      ttl: textFlag("TIME", "How long it is good, from 1m to 24h (default 15m)"),
      json: JSON_FLAG,
    },
    aliases: { t: "tag" },
  },
  load: async () => (await import("./commands/node.ts")).nodeToken,
});

const nodeShow = command<JsonFlags, [string]>({
  brief: "Show one node",
  parameters: {
    flags: { json: JSON_FLAG },
    positional: { kind: "tuple", parameters: [node()] },
  },
  load: async () => (await import("./commands/node.ts")).nodeShow,
});

const nodeRename = command<JsonFlags, [string, string]>({
  brief: "Give a node another name",
  parameters: {
    flags: { json: JSON_FLAG },
    positional: { kind: "tuple", parameters: [node(), argument("NAME", "The new name")] },
  },
  load: async () => (await import("./commands/node.ts")).nodeRename,
});

const nodeTag = command<NodeTagFlags, string[]>({
  brief: "Add tags to a node, or take them away",
  about: `The first word is the node, those after it are tags to add.

Examples:
  openbox node tag mac gpu build
  openbox node tag mac --rm old`,
  parameters: {
    flags: { rm: listFlag("TAG", "Take this tag away; repeat it for more"), json: JSON_FLAG },
    positional: {
      kind: "array",
      parameter: argument("NODE TAG", "The node, then tags to add"),
      minimum: 1,
    },
  },
  load: async () => (await import("./commands/node.ts")).nodeTag,
});

const nodeRemove = command<JsonFlags, [string]>({
  brief: "Remove a node; its agent ends",
  parameters: {
    flags: { json: JSON_FLAG },
    positional: { kind: "tuple", parameters: [node()] },
  },
  load: async () => (await import("./commands/node.ts")).nodeRemove,
});

const sessions = command<SessionsFlags>({
  brief: "List your sessions: shells that stay, each on its node",
  about: `Examples:
  openbox -t mac -s build cd /tmp/work    # starts one
  openbox sessions --json | jq -r '.sessions[] | select(.state == "idle") | .session_id'`,
  parameters: { flags: { json: JSON_FLAG } },
  load: async () => (await import("./commands/sessions.ts")).sessions,
});

const sessionEnd = command<SessionsFlags, [string]>({
  brief: "End a session, with all that runs in it",
  parameters: {
    flags: { json: JSON_FLAG },
    positional: {
      kind: "tuple",
      parameters: [argument("NAME", "The session", { proposeCompletions: sessionNames })],
    },
  },
  load: async () => (await import("./commands/sessions.ts")).sessionEnd,
});

const audit = command<AuditFlags>({
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

const caKeygen = command<JsonFlags>({
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

const version = command<JsonFlags>({
  brief: "Show the version",
  parameters: { flags: { json: JSON_FLAG } },
  load: async () => (await import("./commands/version.ts")).version,
});

const completion = command<Record<never, never>, [string]>({
  brief: "Print what makes a shell complete openbox's commands",
  about: `Examples:
  openbox completion bash > ~/.local/share/bash-completion/completions/openbox
  openbox completion zsh > ~/.zfunc/_openbox      # with fpath+=~/.zfunc before compinit
  openbox completion fish > ~/.config/fish/completions/openbox.fish`,
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [argument("SHELL", "bash, zsh or fish", {
        proposeCompletions: () => Promise.resolve(["bash", "zsh", "fish"]),
      })],
    },
  },
  load: async () => (await import("./commands/completion.ts")).completion,
});

const control = command<ControlFlags>({
  brief: "Start a control plane",
  about: `Each flag has a variable, OPENBOX_ and its name in capitals, unless said otherwise.

Examples:
  openbox control
  openbox control --addr :8443 --tls-cert cert.pem --tls-key key.pem --url https://box.example.com`,
  parameters: {
    flags: {
      addr: textFlag("ADDR", "Listen there (default 127.0.0.1:8080; PORT after OPENBOX_ADDR)"),
      url: textFlag("URL", "The address that others use (OPENBOX_PUBLIC_URL)"),
      db: textFlag(
        "FILE",
        "The database: a SQLite file (default control/openbox.db in the home) or a Postgres",
      ),
      ca: textFlag(
        "FILE",
        "The CA keys, as `openbox ca-keygen` prints them (or OPENBOX_CA_KEY); `database` keeps them sealed there",
      ),
      caPassphraseFile: textFlag("FILE", "What the CA is sealed with (or OPENBOX_CA_PASSPHRASE)"),
      tlsCert: textFlag("FILE", "Serve HTTPS with this certificate, PEM"),
      tlsKey: textFlag("FILE", "The key of --tls-cert, PEM"),
      insecureHttp: switchFlag("Serve plain HTTP to other machines"),
      bootstrapTokenFile: textFlag("FILE", "The first user's token (or OPENBOX_BOOTSTRAP_TOKEN)"),
      printBootstrapToken: switchFlag("Print the first user's token where there is only a log"),
      newToken: textFlag(
        "USER",
        "Make a token for this user and end; the control plane is stopped",
      ),
      dispatchLimit: textFlag("N", "Dispatches a second of one user; twice as many at once"),
    },
  },
  load: async () => (await import("./commands/control.ts")).control,
});

const agent = command<AgentFlags>({
  brief: "Make this machine a node, and serve it",
  about:
    `Enrolled once, it starts again with the same line, or with none of its flags. What its owner allows (isolations, logins, mounts, networks, limits) stands in agent/agent.toml in the home, by default ~/.openbox/agent/agent.toml; docs/agent-settings.md has an example.

Examples:
  OPENBOX_ENROLL_TOKEN=enroll_… openbox agent --server https://box.example.com --tag gpu`,
  parameters: {
    flags: {
      server: textFlag("URL", "The control plane (OPENBOX_SERVER)"),
      tokenFile: textFlag("FILE", "File with the enroll token; - is stdin"),
      token: textFlag(
        "TOKEN",
        "The enroll token itself; it shows in `ps` (OPENBOX_ENROLL_TOKEN)",
      ),
      addr: textFlag("ADDR", "Listen there (OPENBOX_AGENT_ADDR)"),
      advertise: textFlag("ADDR", "The address that others use (OPENBOX_ADVERTISE)"),
      name: textFlag("NAME", "The node's name (OPENBOX_NAME; default the host name)"),
      tag: listFlag("TAG", "A tag of this node; repeat it for more"),
      insecureHttp: switchFlag("Take plain HTTP to another machine (OPENBOX_INSECURE_HTTP)"),
      tlsCa: textFlag("FILE", "Trust this certificate too, PEM (OPENBOX_TLS_CA)"),
    },
    aliases: { t: "tag" },
  },
  load: async () => (await import("./commands/agent.ts")).agent,
});

const camel = (name: string) => name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase());

/** Its words are split off before the tree is asked; here it has its help and its completion. */
const runCommand = command<Record<string, unknown>, string[]>({
  brief: "Run a command on a node; `openbox -t TAG COMMAND…` is the short form",
  about:
    `Input, output and the exit code are those of the command. Everything from its first word on is taken as it is. One word is a line for the shell; several words arrive as the words they are.

Examples:
  openbox -t mac make -j8
  openbox -n mini 'df -h | tail -1'
  openbox -t mac -s build cd /tmp/work    # the next -s build goes on there
  tar c src | openbox -t gpu -C build tar x
  openbox -t mac --user deploy ./ship.sh
  openbox -t gpu --docker debian:12 --memory 2g --mount /srv/data:/data:ro ls /data`,
  parameters: {
    // a table read at run time has no types for each flag
    flags: Object.fromEntries(RUN_FLAGS.map((flag) => [
      camel(flag.name),
      flag.value === undefined ? switchFlag(flag.brief) : textFlag(flag.value, flag.brief),
    ])) as never,
    aliases: Object.fromEntries(
      RUN_FLAGS.flatMap((flag) => flag.short ? [[flag.short, camel(flag.name)]] : []),
    ),
    positional: { kind: "array", parameter: argument("COMMAND", "What to run"), minimum: 1 },
  },
  load: () => Promise.reject(new TypeError("the splitter takes what is to run")),
});

export const root = buildRouteMap<string, Context>({
  routes: {
    run: runCommand,
    nodes,
    node: buildRouteMap<string, Context>({
      routes: {
        token: nodeToken,
        show: nodeShow,
        rename: nodeRename,
        tag: nodeTag,
        rm: nodeRemove,
      },
      docs: { brief: "Enroll, show, change and remove nodes" },
    }),
    sessions,
    session: buildRouteMap<string, Context>({
      routes: { end: sessionEnd },
      docs: { brief: "End a session" },
    }),
    audit: buildRouteMap<string, Context>({
      routes: { show: audit, verify: auditVerify },
      defaultCommand: "show",
      docs: { brief: "Show and check the record of who did what" },
    }),
    login,
    logout,
    whoami,
    control,
    agent,
    ca: buildRouteMap<string, Context>({
      routes: { status: caStatus, rotate: caRotate, seal: caSeal, unseal: caUnseal },
      docs: { brief: "Show, rotate and seal the CA of a control plane" },
    }),
    caKeygen,
    completion,
    version,
  },
  docs: {
    brief: "Run anything on any of your machines",
    fullDescription: `Examples:
  openbox -t mac make build         on a node with the tag mac
  openbox -n mini uname -a          on the node called mini
  echo hi | openbox -t mac wc -c    input, output and exit code as if it ran here
  openbox help run                  more about that`,
  },
});
