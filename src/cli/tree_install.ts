/** The commands for the program itself. */
import { command } from "./command.ts";
import type { UpgradeFlags } from "./commands/upgrade.ts";
import { JSON_FLAG, switchFlag, textFlag } from "./flags.ts";

export const upgrade = command<UpgradeFlags>({
  brief: "Replace this openbox with the latest release",
  about:
    `The release's signature and checksum are verified first. The new openbox must answer before it takes the place of the old one, which is kept beside it. An older release is refused: install.sh installs it.

OPENBOX_BASE_URL is a mirror, OPENBOX_REPO another repository on GitHub.

Examples:
  openbox upgrade --check
  openbox upgrade
  openbox upgrade --version 1.2.3`,
  parameters: {
    flags: {
      check: switchFlag("Only say whether there is a newer one"),
      version: textFlag("VERSION", "This release; by default the latest"),
      json: JSON_FLAG,
    },
  },
  startsPrograms: true,
  load: async () => (await import("./commands/upgrade.ts")).upgrade,
});
