import assert from "node:assert/strict";
import { launchd } from "../../../src/service/launchd.ts";
import { agentSpec } from "./spec.ts";

const manager = launchd({ userHome: "/Users/me", uid: 501 });
const words = (steps: readonly { readonly command: readonly string[] }[]) =>
  steps.map(({ command }) => command.join(" "));

type Plist = string | number | boolean | Plist[] | { [key: string]: Plist };

/** Reads what Apple's own reader would, and throws at what is not well-formed. */
function readPlist(text: string): Plist {
  const body = text.replace(/^<\?xml[^>]*\?>\n<!DOCTYPE plist [^>]*>\n/, "")
    .replace(/<!--(?:(?!--)[^])*-->/g, "");
  assert.notEqual(body, text, "an XML declaration and Apple's document type");
  const tokens = body.match(/<[^>]+>|[^<]+/g)!.filter((token) => token.trim() !== "");
  const take = (wanted?: string) => {
    const token = tokens.shift();
    assert.ok(
      token !== undefined && (wanted === undefined || token === wanted),
      `${token} for ${wanted}`,
    );
    return token;
  };
  const textUntil = (end: string) => {
    let text = "";
    while (tokens[0] !== end) text += take();
    take(end);
    assert.doesNotMatch(text, /[<>]|&(?!amp;|lt;|gt;)/);
    return text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  };
  const value = (): Plist => {
    const tag = take();
    switch (tag) {
      case "<true/>":
        return true;
      case "<false/>":
        return false;
      case "<string>":
        return textUntil("</string>");
      case "<integer>":
        return Number(textUntil("</integer>"));
      case "<array>": {
        const list: Plist[] = [];
        while (tokens[0] !== "</array>") list.push(value());
        take("</array>");
        return list;
      }
      case "<dict>": {
        const dict: { [key: string]: Plist } = {};
        while (tokens[0] !== "</dict>") {
          take("<key>");
          const key = textUntil("</key>");
          assert.ok(!(key in dict), `${key} twice`);
          dict[key] = value();
        }
        take("</dict>");
        return dict;
      }
      default:
        throw new Error(`${tag} is no value`);
    }
  };
  take('<plist version="1.0">');
  const root = value();
  take("</plist>");
  assert.deepEqual(tokens, []);
  return root;
}

Deno.test("a user's agent is a launch agent that is started anew when it fails", () => {
  const spec = agentSpec({
    scope: "user",
    home: "/Users/me/.openbox",
    flags: ["--name=a & <b>", "--tag=mac"],
  });
  const [file] = manager.files(spec);
  assert.equal(file!.path, "/Users/me/Library/LaunchAgents/io.openbox.agent.plist");
  assert.deepEqual(readPlist(file!.text), {
    Label: "io.openbox.agent",
    ProgramArguments: ["/usr/local/bin/openbox", "agent", "--name=a & <b>", "--tag=mac"],
    EnvironmentVariables: { OPENBOX_HOME: "/Users/me/.openbox" },
    RunAtLoad: true,
    KeepAlive: { SuccessfulExit: false },
    ProcessType: "Interactive",
    ExitTimeOut: 30,
    Umask: 0o077,
    AbandonProcessGroup: true,
    StandardOutPath: "/Users/me/Library/Logs/openbox-agent.log",
    StandardErrorPath: "/Users/me/Library/Logs/openbox-agent.log",
  });
});

Deno.test("an agent as root is a launch daemon, with a cache of its own", () => {
  const [file] = manager.files(agentSpec({ home: "/var/db/openbox-agent" }));
  assert.equal(file!.path, "/Library/LaunchDaemons/io.openbox.agent.plist");
  const { EnvironmentVariables } = readPlist(file!.text) as { EnvironmentVariables: Plist };
  assert.deepEqual(EnvironmentVariables, {
    OPENBOX_HOME: "/var/db/openbox-agent",
    OPENBOX_CACHE: "/var/db/openbox-agent/cache",
  });
});

Deno.test("control plane and daemon are a user's, and well-formed", () => {
  for (const service of ["control", "daemon"] as const) {
    const [file] = manager.files(agentSpec({ service, scope: "user" }));
    assert.equal((readPlist(file!.text) as { Label: string }).Label, `io.openbox.${service}`);
    assert.throws(() => manager.files(agentSpec({ service })), { hint: /without sudo/ });
  }
});

Deno.test("launchd is told of new files, and left alone with those that it knows", () => {
  const spec = agentSpec({ scope: "user" });
  assert.deepEqual(words(manager.activate(spec, { changed: true })), [
    "launchctl bootout gui/501/io.openbox.agent",
    "launchctl enable gui/501/io.openbox.agent",
    "launchctl bootstrap gui/501 /Users/me/Library/LaunchAgents/io.openbox.agent.plist",
    "launchctl kickstart gui/501/io.openbox.agent",
  ]);
  assert.ok(
    !words(manager.activate(spec, { changed: false })).some((step) => /bootout/.test(step)),
  );
  assert.deepEqual(words(manager.deactivate(spec)), ["launchctl bootout gui/501/io.openbox.agent"]);
});

Deno.test("what launchctl prints becomes a state", () => {
  const { read } = manager.askStatus({ service: "agent", scope: "user" });
  const running = read("gui/501/io.openbox.agent = {\n\tstate = running\n\tpid = 77\n}", true);
  assert.deepEqual([running.state, running.pid, running.failure], ["running", 77, undefined]);
  const failed = read("\tstate = not running\n\tlast exit code = 2\n", true);
  assert.deepEqual([failed.state, failed.failure], ["stopped", "exit code 2"]);
  assert.deepEqual([read("", false).state, read("", false).enabled], ["stopped", false]);
});
