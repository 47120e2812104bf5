/** The commands of openbox, their flags and their help. What each does is in `commands/`, loaded when it is asked for. */
import { buildRouteMap } from "@stricli/core";
import { command, type Context } from "./command.ts";
import type { BackupFlags, RestoreFlags } from "./commands/backup.ts";
import type { AuditFlags, AuditVerifyFlags } from "./commands/audit.ts";
import type { AgentFlags } from "./commands/agent.ts";
import type { PassphraseFlags, RotateFlags } from "./commands/ca.ts";
import type { CanFlags } from "./commands/can.ts";
import type { ControlFlags } from "./commands/control.ts";
import type { LoginFlags } from "./commands/login.ts";
import type { NodeTagFlags, NodeTokenFlags, NodeTokensFlags } from "./commands/node.ts";
import type { NodesFlags } from "./commands/nodes.ts";
import type { RevokeFlags } from "./commands/revoke.ts";
import type { RuleAddFlags, RuleRemoveFlags } from "./commands/rule.ts";
import type { SessionsFlags } from "./commands/sessions.ts";
import type { TokenCreateFlags, TokenListFlags } from "./commands/token.ts";
import type { RemoveFlags, UserAddFlags } from "./commands/user.ts";
import { argument, JSON_FLAG, listFlag, switchFlag, textFlag } from "./flags.ts";
import { nodeNames, sessionNames, tagNames } from "./propose.ts";
import { RUN_FLAGS } from "./run_flags.ts";

interface JsonFlags {
  readonly json?: boolean;
}

/** The grammar of rules and scopes, for the help. */
const GRANTS =
  "read, run, enroll, audit or admin, which is all of them. run takes limits (tag, node, isolation, session=yes|no, login), enroll takes tag: a repeated key is one or the other, different keys hold together, as in run:tag=ci,tag=lab,isolation=docker,session=no.";

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
  about:
    `The token in it works once, or as often as --reusable says, and for a while. Nodes that come and go are --ephemeral: they are removed when nothing was heard of them for so long.

Examples:
  openbox node token --tag gpu --ttl 1h
  openbox node token --reusable 20 --ephemeral 10m --tag ci --ttl 30d    # for a cloud-init line`,
  parameters: {
    flags: {
      tag: listFlag("TAG", "A tag that the node will have; repeat it for more", {
        proposeCompletions: tagNames,
      }),
      ttl: textFlag("TIME", "How long it is good, from 1m to 24h, reusable to 30d (default 15m)"),
      reusable: textFlag("N", "For so many nodes"),
      ephemeral: textFlag("TIME", "Its nodes go when silent for so long, from 2m"),
      name: textFlag("NAME", "For the list of `openbox node tokens`"),
      json: JSON_FLAG,
    },
    aliases: { t: "tag" },
  },
  load: async () => (await import("./commands/node.ts")).nodeToken,
});

const nodeTokens = command<NodeTokensFlags>({
  brief: "List the enrollment tokens that can still make a node, or revoke one",
  about: `Examples:
  openbox node tokens
  openbox node tokens --revoke tok_0123456789ab`,
  parameters: {
    flags: { revoke: textFlag("ID", "End this one"), json: JSON_FLAG },
  },
  load: async () => (await import("./commands/node.ts")).nodeTokens,
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

const revoke = command<RevokeFlags, [string, string]>({
  brief: "Revoke a token, a user, a node, a certificate or a key",
  about:
    `The control plane refuses it at once, the nodes with their next heartbeat; what runs for it there is ended, unless the node's owner keeps it. A user's tokens are all revoked with him.

Examples:
  openbox revoke token tok_0123456789ab --reason 'laptop stolen'
  openbox revoke user ann
  openbox revoke node mac
  openbox revoke cert 4711
  openbox revoke key SHA256:…`,
  parameters: {
    flags: {
      reason: textFlag("TEXT", "Why, for the record"),
      json: JSON_FLAG,
    },
    positional: {
      kind: "tuple",
      parameters: [
        argument("KIND", "token, user, node, cert or key", {
          proposeCompletions: () => Promise.resolve(["token", "user", "node", "cert", "key"]),
        }),
        argument("ID", "Its id; a user's or a node's name, a serial, a key's fingerprint"),
      ],
    },
  },
  load: async () => (await import("./commands/revoke.ts")).revoke,
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

const FORCE = switchFlag("Even where nobody is left who may administer the account");
const KEEP_MADE = switchFlag("What was made with it stays");
const user = () => argument("USER", "A name, or an id");
const tokenId = () => argument("ID", "As `openbox token list` shows it");

const userAdd = command<UserAddFlags, [string]>({
  brief: "Add a user to the account",
  about: `Without --rule he may list nodes and run commands on all of them: the rules read and run.

Examples:
  openbox user add ann
  openbox user add ci --rule run:tag=ci,session=no
  openbox token create --user ann --out ann.token`,
  parameters: {
    flags: {
      rule: listFlag("GRANT", "What he may, instead of read and run; repeat it for more"),
      json: JSON_FLAG,
    },
    positional: { kind: "tuple", parameters: [argument("NAME", "The user's name")] },
  },
  load: async () => (await import("./commands/user.ts")).userAdd,
});

const userList = command<JsonFlags>({
  brief: "List the users, and what they may",
  about: `Examples:
  openbox user list --json | jq -r '.users[].name'`,
  parameters: { flags: { json: JSON_FLAG } },
  load: async () => (await import("./commands/user.ts")).userList,
});

const userRemove = command<RemoveFlags, [string]>({
  brief: "Remove a user, with his tokens and his sessions",
  about: `What was made with his tokens goes too, unless --keep-made says otherwise.

Examples:
  openbox user rm ann`,
  parameters: {
    flags: { force: FORCE, keepMade: KEEP_MADE, json: JSON_FLAG },
    positional: { kind: "tuple", parameters: [user()] },
  },
  load: async () => (await import("./commands/user.ts")).userRemove,
});

const tokenCreate = command<TokenCreateFlags>({
  brief: "Make a token to log in with, and print it once",
  about: `A scope leaves the token a part of what its user may: ${GRANTS}

Examples:
  openbox token create --name laptop --out laptop.token
  openbox token create --user ci --scope run:tag=ci,session=no --ttl 30d
  openbox token create --scope read --ttl 1h`,
  parameters: {
    flags: {
      user: textFlag("USER", "Whose (default you)"),
      name: textFlag("NAME", "For the list (default token)"),
      scope: listFlag("GRANT", "Only that; repeat it for more (default all that the user may)"),
      ttl: textFlag("TIME", "How long it is good, to 365d (default 90d)"),
      out: textFlag("FILE", "Into this new file, mode 0600, and not on the screen"),
      json: JSON_FLAG,
    },
  },
  load: async () => (await import("./commands/token.ts")).tokenCreate,
});

const tokenList = command<TokenListFlags>({
  brief: "List your tokens: what they may, when they end, when they were used",
  about: `Examples:
  openbox token list
  openbox token list --all --json | jq -r '.tokens[] | select(.last_used == null) | .id'`,
  parameters: {
    flags: {
      user: textFlag("USER", "Those of this user"),
      all: switchFlag("Those of all users"),
      json: JSON_FLAG,
    },
  },
  load: async () => (await import("./commands/token.ts")).tokenList,
});

const tokenRevoke = command<RemoveFlags, [string]>({
  brief: "Revoke a token, with all that was made with it",
  about: `Examples:
  openbox token revoke tok_0123456789ab
  openbox token revoke tok_0123456789ab --keep-made    # after you logged in with one that it made`,
  parameters: {
    flags: { force: FORCE, keepMade: KEEP_MADE, json: JSON_FLAG },
    positional: { kind: "tuple", parameters: [tokenId()] },
  },
  load: async () => (await import("./commands/token.ts")).tokenRevoke,
});

const ruleAdd = command<RuleAddFlags, [string, string]>({
  brief: "Let a user do something more",
  about: `${GRANTS}

Examples:
  openbox rule add ann enroll:tag=lab
  openbox rule add ci run:tag=ci,isolation=docker,session=no --name nightly`,
  parameters: {
    flags: {
      name: textFlag("NAME", "What `openbox can` calls it (default its verb)"),
      json: JSON_FLAG,
    },
    positional: {
      kind: "tuple",
      parameters: [user(), argument("GRANT", "VERB[:KEY=VALUE,…]")],
    },
  },
  load: async () => (await import("./commands/rule.ts")).ruleAdd,
});

const ruleList = command<JsonFlags, [string?]>({
  brief: "List the rules, of one user or of all",
  about: `Examples:
  openbox rule list ann`,
  parameters: {
    flags: { json: JSON_FLAG },
    positional: { kind: "tuple", parameters: [{ ...user(), optional: true }] },
  },
  load: async () => (await import("./commands/rule.ts")).ruleList,
});

const ruleRemove = command<RuleRemoveFlags, [string]>({
  brief: "Take a rule away",
  about: `Examples:
  openbox rule rm rul_0123456789ab`,
  parameters: {
    flags: { force: FORCE, json: JSON_FLAG },
    positional: {
      kind: "tuple",
      parameters: [argument("ID", "As `openbox rule list` shows it")],
    },
  },
  load: async () => (await import("./commands/rule.ts")).ruleRemove,
});

const can = command<CanFlags, [string, string]>({
  brief: "Say whether a user may, by which rule, and why not",
  about:
    `VERB is read, run, enroll, audit or admin. The exit code is 0 for yes and 3 for no. About yourself it counts the scopes of the token that you are logged in with, too.

Examples:
  openbox can ann run -t gpu
  openbox can ci run -n mini --docker debian:12
  openbox can ann enroll -t lab --json | jq -r .rule.name`,
  parameters: {
    flags: {
      tag: listFlag("TAG", "On a node with this tag; of enroll: making nodes with it", {
        proposeCompletions: tagNames,
      }),
      node: textFlag("NODE", "On this node", { proposeCompletions: nodeNames }),
      session: switchFlag("In a shell that stays"),
      docker: textFlag("IMAGE", "In a container of this image"),
      nspawn: textFlag("DIR", "In the tree under DIR"),
      isolate: textFlag("SPEC", "native, docker:IMAGE or nspawn:DIR"),
      user: textFlag("LOGIN", "As this user of the node"),
      json: JSON_FLAG,
    },
    aliases: { t: "tag", n: "node", s: "session" },
    positional: { kind: "tuple", parameters: [user(), argument("VERB", "What is to be done")] },
  },
  load: async () => (await import("./commands/can.ts")).can,
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

const backup = command<BackupFlags, [string]>({
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

const restore = command<RestoreFlags, [string]>({
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
  openbox control --addr :8443 --tls-cert cert.pem --tls-key key.pem --url https://box.example.com
  openbox control --addr :8080 --behind-proxy 10.0.0.4 --url https://box.example.com`,
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
      behindProxy: textFlag(
        "ADDR",
        "Believe X-Forwarded-… of proxies there; networks as 10.0.0.0/8, several with commas",
      ),
      bootstrapTokenFile: textFlag("FILE", "The first user's token (or OPENBOX_BOOTSTRAP_TOKEN)"),
      printBootstrapToken: switchFlag("Print the first user's token where there is only a log"),
      newToken: textFlag(
        "USER",
        "Make a token for this user and end; the control plane is stopped",
      ),
      auditSyslog: textFlag("URL", "Send the audit there too: tcp://HOST:601 or udp://HOST:514"),
      dispatchLimit: textFlag("N", "Dispatches a second of one user; twice as many at once"),
      sourceLimit: textFlag("N", "Requests a second of one address; twice as many at once"),
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
        tokens: nodeTokens,
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
    revoke,
    backup,
    restore,
    login,
    logout,
    whoami,
    user: buildRouteMap<string, Context>({
      routes: { add: userAdd, list: userList, rm: userRemove },
      docs: { brief: "Add, list and remove users" },
    }),
    token: buildRouteMap<string, Context>({
      routes: { create: tokenCreate, list: tokenList, revoke: tokenRevoke },
      docs: { brief: "Make, list and revoke tokens to log in with" },
    }),
    rule: buildRouteMap<string, Context>({
      routes: { add: ruleAdd, list: ruleList, rm: ruleRemove },
      docs: { brief: "Say what users may do" },
    }),
    can,
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
