import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { requireComponent } from "../fixtures/component.ts";
import { eventually } from "../fixtures/processes.ts";
import { bootstrapToken, type ControlProcess, startControl } from "./control_process.ts";

const ask = async ({ url }: ControlProcess, method: string, path: string, token?: string) => {
  const response = await fetch(url + path, {
    method,
    headers: { connection: "close", ...(token && { authorization: `Bearer ${token}` }) },
    ...(method === "POST" && { body: "{}" }),
  });
  return { status: response.status, text: await response.text() };
};

/** A file system of its own, so small that a test can fill it. */
async function smallFolder(size: string): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir();
  const run = async (...[program, ...args]: string[]) => {
    const { success, stderr } = await new Deno.Command(program!, { args }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
  };
  await run("mount", "-t", "tmpfs", "-o", `size=${size},mode=700`, "openbox-test", path);
  return {
    path,
    async [Symbol.asyncDispose]() {
      await run("umount", "--lazy", path);
      await Deno.remove(path);
    },
  };
}

/** Writes until nothing fits any more. */
async function fill(path: string): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true });
  for (let size = 64 * 1024; size >= 1; size = Math.floor(size / 2)) {
    try {
      while (true) await file.write(new Uint8Array(size));
    } catch {
      // a smaller piece may fit
    }
  }
}

/** What was acknowledged before, during and after is there, and the file is whole. */
function assertWhole(home: string, acknowledged: number): void {
  const database = new DatabaseSync(`${home}/control/openbox.db`);
  try {
    assert.equal(database.prepare("pragma integrity_check").get()!.integrity_check, "ok");
    const { n } = database.prepare("select count(*) as n from enroll_tokens").get()!;
    assert.ok(Number(n) >= acknowledged, `${n} of ${acknowledged}`);
  } finally {
    database.close();
  }
}

Deno.test(
  "STO-2: the disk is full: writes are 503, reads are answered, and with room again it goes on",
  requireComponent("linux-root"),
  async () => {
    await using folder = await smallFolder("8m");
    const home = `${folder.path}/home`;
    let acknowledged = 0;
    {
      await using control = await startControl({ home });
      const token = await bootstrapToken(home);
      const make = async () => {
        const { status } = await ask(control, "POST", "/v1/enroll-tokens", token);
        if (status === 200) acknowledged++;
        return status;
      };
      assert.equal(await make(), 200);
      await fill(`${folder.path}/filler`);
      // the log has some room of its own at first
      await eventually("a write fails", async () => await make() === 503, 20_000);
      assert.equal((await ask(control, "GET", "/v1/nodes", token)).status, 200);
      const refused = await ask(control, "POST", "/v1/enroll-tokens", token);
      assert.equal(refused.status, 503);
      assert.doesNotMatch(refused.text, /sqlite|disk/i);
      await eventually("the log says why", () => /disk is full/.test(control.stderr()));
      await Deno.remove(`${folder.path}/filler`);
      assert.equal(await make(), 200);
      control.kill("SIGKILL");
      await control.ended;
    }
    assertWhole(home, acknowledged);
  },
);

for (const error of ["EIO", "EROFS"]) {
  Deno.test(
    `STO-3: the disk answers ${error}: writes are 503 with a line in the log, reads are answered, then it goes on`,
    requireComponent("linux-root", "strace"),
    async () => {
      const root = await Deno.makeTempDir(), home = `${root}/home`;
      await using _ = { [Symbol.asyncDispose]: () => Deno.remove(root, { recursive: true }) };
      let acknowledged = 0;
      {
        await using control = await startControl({ home });
        const token = await bootstrapToken(home);
        const make = async () => {
          const { status } = await ask(control, "POST", "/v1/enroll-tokens", token);
          if (status === 200) acknowledged++;
          return status;
        };
        assert.equal(await make(), 200);
        const calls = "pwrite64,fsync,fdatasync";
        const strace = new Deno.Command("strace", {
          args: [
            ...["-f", "-qq", "-o", "/dev/null", "-e", `trace=${calls}`],
            ...["-e", `inject=${calls}:error=${error}`, "-p", String(control.pid)],
          ],
          stdin: "null",
          stdout: "null",
          stderr: "null",
        }).spawn();
        try {
          await eventually("writes fail", async () => await make() === 503, 20_000);
          assert.equal((await ask(control, "GET", "/v1/nodes", token)).status, 200);
          assert.equal((await ask(control, "GET", "/health")).status, 200);
          await eventually("the log says why", () => /I\/O error|readonly/.test(control.stderr()));
        } finally {
          strace.kill("SIGINT");
          await strace.status;
        }
        await eventually("it goes on", async () => await make() === 200, 20_000);
        control.kill("SIGKILL");
        await control.ended;
      }
      assertWhole(home, acknowledged);
    },
  );
}
