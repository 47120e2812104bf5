import assert from "node:assert/strict";
import { OpenboxError } from "../../../src/errors.ts";
import { checkSocketPath, isOurSocket } from "../../../src/ipc/socket.ts";
import { generationOf, settingsOf } from "../../../src/ipc/generation.ts";

async function withSocket(act: (path: string, directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  await Deno.chmod(directory, 0o700);
  const path = `${directory}/openboxd.sock`;
  {
    using _listener = Deno.listen({ transport: "unix", path });
    await Deno.chmod(path, 0o600);
    await act(path, directory);
  }
  await Deno.remove(directory, { recursive: true });
}

const code = (act: () => unknown): string | undefined => {
  try {
    act();
    return undefined;
  } catch (error) {
    return (error as OpenboxError).code;
  }
};

Deno.test("a socket of ours in a directory of ours is taken; none is none", async () => {
  await withSocket((path, directory) => {
    assert.equal(isOurSocket(path), true);
    assert.equal(isOurSocket(`${directory}/absent`), false);
    return Promise.resolve();
  });
});

Deno.test("DMN-1: a socket or a directory that others can get at is not spoken to", async () => {
  await withSocket(async (path, directory) => {
    await Deno.chmod(path, 0o666);
    assert.equal(code(() => isOurSocket(path)), "untrusted_socket");
    await Deno.chmod(path, 0o600);
    for (const mode of [0o750, 0o777, 0o1777]) {
      await Deno.chmod(directory, mode);
      assert.equal(code(() => isOurSocket(path)), "untrusted_socket", mode.toString(8));
    }
    await Deno.chmod(directory, 0o700);
  });
});

Deno.test({
  name: "DMN-5: a socket, or a directory, of another user is not spoken to",
  ignore: Deno.uid() !== 0,
  async fn() {
    await withSocket(async (path, directory) => {
      await Deno.chown(path, 65534, 65534);
      assert.equal(code(() => isOurSocket(path)), "untrusted_socket");
      await Deno.chown(path, 0, 0);
      await Deno.chown(directory, 65534, 65534);
      assert.equal(code(() => isOurSocket(path)), "untrusted_socket");
    });
  },
});

Deno.test("what is no socket is not spoken to, wherever it leads", async () => {
  await withSocket(async (path, directory) => {
    await Deno.writeTextFile(`${directory}/file`, "", { mode: 0o600 });
    await Deno.symlink(path, `${directory}/link`);
    assert.equal(isOurSocket(`${directory}/file`), false);
    assert.equal(isOurSocket(`${directory}/link`), false);
  });
});

Deno.test("a path that the system cannot bind is refused by its length", () => {
  checkSocketPath(`/tmp/${"a".repeat(90)}`);
  assert.equal(code(() => checkSocketPath(`/tmp/${"ä".repeat(90)}`)), "bad_setting");
});

Deno.test("DMN-8: another login is another generation, also one of the same length", async () => {
  const home = await Deno.makeTempDir();
  const seen = new Set([generationOf(home)]);
  for (const text of ["aaaa", "bbbb"]) {
    await Deno.writeTextFile(`${home}/config.json.new`, text);
    await Deno.rename(`${home}/config.json.new`, `${home}/config.json`);
    seen.add(generationOf(home));
  }
  assert.equal(seen.size, 3);
  assert.equal(settingsOf(home), "-");
  await Deno.writeTextFile(`${home}/settings.toml`, 'daemon = "never"');
  assert.notEqual(settingsOf(home), "-");
  assert.equal(generationOf(home), generationOf(home));
  await Deno.remove(home, { recursive: true });
});
