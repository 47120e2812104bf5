/** The commands about who may do what: users, their tokens and rules, and what is taken from them. */
import { buildRouteMap } from "@stricli/core";
import { command, type Context } from "./command.ts";
import type { CanFlags } from "./commands/can.ts";
import type { RevokeFlags } from "./commands/revoke.ts";
import type { RuleAddFlags, RuleRemoveFlags } from "./commands/rule.ts";
import type { TokenCreateFlags, TokenListFlags } from "./commands/token.ts";
import type { RemoveFlags, UserAddFlags } from "./commands/user.ts";
import { argument, JSON_FLAG, type JsonFlags, listFlag, switchFlag, textFlag } from "./flags.ts";
import { nodeNames, tagNames } from "./propose.ts";

/** The grammar of rules and scopes, for the help. */
const GRANTS =
  "read, run, enroll, audit or admin, which is all of them. run takes limits (tag, node, isolation, session=yes|no, login), enroll takes tag: a repeated key is one or the other, different keys hold together, as in run:tag=ci,tag=lab,isolation=docker,session=no.";
const FORCE = switchFlag("Even where nobody is left who may administer the account");
const KEEP_MADE = switchFlag("What was made with it stays");
const userName = () => argument("USER", "A name, or an id");
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
    positional: { kind: "tuple", parameters: [userName()] },
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
      parameters: [userName(), argument("GRANT", "VERB[:KEY=VALUE,…]")],
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
    positional: { kind: "tuple", parameters: [{ ...userName(), optional: true }] },
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

export const can = command<CanFlags, [string, string]>({
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
    positional: { kind: "tuple", parameters: [userName(), argument("VERB", "What is to be done")] },
  },
  load: async () => (await import("./commands/can.ts")).can,
});

export const revoke = command<RevokeFlags, [string, string]>({
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

export const user = buildRouteMap<string, Context>({
  routes: { add: userAdd, list: userList, rm: userRemove },
  docs: { brief: "Add, list and remove users" },
});

export const token = buildRouteMap<string, Context>({
  routes: { create: tokenCreate, list: tokenList, revoke: tokenRevoke },
  docs: { brief: "Make, list and revoke tokens to log in with" },
});

export const rule = buildRouteMap<string, Context>({
  routes: { add: ruleAdd, list: ruleList, rm: ruleRemove },
  docs: { brief: "Say what users may do" },
});
