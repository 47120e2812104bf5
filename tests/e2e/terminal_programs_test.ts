/** Full-screen programs in a pane of tmux, by our client and by the system's ssh: docs/fidelity.md RUN-20, RUN-21. */
import assert from "node:assert/strict";
import { quoteWord } from "../../src/shell_word.ts";
import { requireComponent } from "../fixtures/component.ts";
import { startFleet } from "../fixtures/fleet.ts";
import { prepareStockSsh } from "../fixtures/stock_ssh.ts";
import { openPane, type Pane } from "../fixtures/tmux.ts";

/** Types at a login shell as a person does, and returns what stood on the screen at each turn. */
async function work(pane: Pane, dir: string): Promise<string[]> {
  const screens: string[] = [];
  const keep = async () => void screens.push(await pane.screen());
  await pane.shows(/[#$] ?$/);
  await pane.enter(`cd ${dir}; PS1='> '; clear`);
  await pane.shows(/^>$/);
  await pane.enter("echo $TERM; stty size; tput colors");
  await pane.shows(/24 80\n256\n>$/);
  await keep();

  await pane.enter("clear; vi -u NONE -i NONE note");
  await pane.shows(/^~$/m);
  await pane.press("i");
  await pane.enter("first line");
  await pane.press("second", "Escape");
  await pane.shows("second");
  await keep();
  await pane.resize(100, 30);
  await pane.shows(/(\n~){27}/); // two lines of text, 27 of nothing, one of vi's own
  await keep();
  await pane.press("C-z");
  await pane.shows("Stopped");
  await pane.enter("clear; stty size; fg >/dev/null");
  await pane.shows(/^second$/m);
  await keep();
  await pane.enter(":wq");
  await pane.shows(/>$/);

  await pane.enter("clear; seq 1 300 | less");
  await pane.shows(/^29\n:$/m);
  await pane.press("G");
  await pane.shows(/^300\n\(END\)$/m);
  await pane.press("g", "/250", "Enter");
  await pane.shows(/^250\n/);
  await keep();
  await pane.press("q");

  await pane.enter("clear; top");
  await pane.shows(/^top - .* load average/);
  await pane.press("q");
  await pane.shows(/>$/);

  await pane.enter("clear; echo go; cat");
  await pane.shows(/^go$/);
  await pane.enter("über");
  await pane.shows("über\nüber");
  await pane.press("C-c");
  await pane.shows(/\^C\n>$/);
  await pane.enter("echo $?");
  await pane.shows(/^130\n>$/m);
  await keep();
  await pane.enter("clear; stty size; cat note; exit 7");
  await pane.shows(/30 100\nfirst line\nsecond\n(logout\n)?code=7/);
  return screens;
}

Deno.test({
  name: "RUN-20, RUN-21: vi, less, job control and resize in tmux, as ssh has them",
  ...requireComponent("tmux", "vi", "less", "ssh", "bash", "ps"),
  async fn() {
    await using fleet = await startFleet();
    const ssh = await prepareStockSsh(fleet);
    const ways = {
      openbox: "openbox -t box",
      ssh: ["ssh", "-qt", ...ssh.args].map(quoteWord).join(" "),
    };
    const seen: Record<string, string[]> = {};
    for (const [name, call] of Object.entries(ways)) {
      const dir = `${fleet.scratch}/work`;
      await Deno.mkdir(dir);
      const line =
        `before=$(stty -g); ${call}; echo code=$?; [ "$before" = "$(stty -g)" ] && echo as before`;
      await using pane = await openPane(line, fleet.env);
      seen[name] = await work(pane, dir);
      await pane.shows("as before");
      await Deno.remove(dir, { recursive: true });
    }
    assert.deepEqual(seen.openbox, seen.ssh);
    assert.equal(seen.openbox!.length, 6);
  },
});
