/**
 * The compiled form: the bundle in a `denort`, by `deno compile`. DENORT_BIN names one for the target; without
 * it Deno downloads it. Deno's permissions are fixed in the file, so all are given, and each mode gives up what
 * it does not need when it starts (src/permissions.ts).
 */
import type { Bundle } from "./bundle.ts";
import type { Target } from "./runtime.ts";

const TRIPLES: Readonly<Record<Target, string>> = {
  "linux-x64": "x86_64-unknown-linux-gnu",
  "linux-arm64": "aarch64-unknown-linux-gnu",
  "macos-x64": "x86_64-apple-darwin",
  "macos-arm64": "aarch64-apple-darwin",
};

export async function compile(bundle: Bundle, target: Target): Promise<Uint8Array<ArrayBuffer>> {
  const directory = await Deno.makeTempDir({ prefix: "openbox-compile-" });
  try {
    // what is imported late is found by nothing but its name
    const late = [...bundle.keys()].filter((name) => name !== "main.js");
    for (const [name, text] of bundle) await Deno.writeTextFile(`${directory}/${name}`, text);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["compile", "--quiet", "--no-config", "--no-lock", "--no-check", "--no-prompt"],
        ...["--allow-all", "--unstable-net", "--target", TRIPLES[target], "--app-name", "openbox"],
        ...late.flatMap((name) => ["--include", name]),
        ...["--output", "openbox", "main.js"],
      ],
      cwd: directory,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) {
      const why = new TextDecoder().decode(stderr).trim();
      throw new Error(
        `deno compile for ${target}: ${why}\nDENORT_BIN names a denort; --form offline needs none`,
      );
    }
    return await Deno.readFile(`${directory}/openbox`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
