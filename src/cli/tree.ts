/** The commands of openbox, their flags and their help. What each does is in `commands/`, loaded when it is asked for. */
import { buildRouteMap } from "@stricli/core";
import { command, type Context } from "./command.ts";
import type { AgentFlags } from "./commands/agent.ts";
import type { ControlFlags } from "./commands/control.ts";
import type { LoginFlags } from "./commands/login.ts";
import type { NodeTagFlags, NodeTokenFlags, NodeTokensFlags } from "./commands/node.ts";
import type { NodesFlags } from "./commands/nodes.ts";
import type { SessionsFlags } from "./commands/sessions.ts";
import { argument, JSON_FLAG, type JsonFlags, listFlag, switchFlag, textFlag } from "./flags.ts";
import { AGENT_FLAGS, CONTROL_FLAGS } from "./mode_flags.ts";
import { nodeNames, sessionNames, tagNames } from "./propose.ts";
import { RUN_FLAGS } from "./run_flags.ts";
import { daemon } from "./tree_daemon.ts";
import { can, revoke, rule, token, user } from "./tree_access.ts";
import { upgrade } from "./tree_install.ts";
import { doctor, service } from "./tree_machine.ts";
import { audit, backup, ca, caKeygen, restore } from "./tree_upkeep.ts";

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
    flags: CONTROL_FLAGS,
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
    flags: AGENT_FLAGS,
    aliases: { t: "tag" },
  },
  startsPrograms: true,
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
    daemon,
    audit,
    revoke,
    backup,
    restore,
    login,
    logout,
    whoami,
    user,
    token,
    rule,
    can,
    control,
    agent,
    service,
    doctor,
    ca,
    caKeygen,
    completion,
    upgrade,
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
