/** A machine that loses its power: what was not synced may be gone, or be there in part. Security STO-4. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../src/clock.ts";
import { Secret } from "../../src/secret.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { userToken } from "../contract/store_suite.ts";
import { ENTRY } from "../fixtures/audit_entry.ts";
import { requireComponent } from "../fixtures/component.ts";
import { eventually } from "../fixtures/processes.ts";
import { bootstrapToken, startControl, temporaryHome } from "./control_process.ts";

Deno.test({
  name: "STO-4: no answer leaves before the disk has what it tells of",
  ...requireComponent("linux-root", "strace"),
  async fn() {
    await using home = await temporaryHome();
    await using control = await startControl({ home: home.path });
    const token = await bootstrapToken(home.path);
    const make = async () => {
      const response = await fetch(`${control.url}/v1/enroll-tokens`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, connection: "close" },
        body: "{}",
      });
      await response.body?.cancel();
      assert.equal(response.status, 200);
    };
    const file = `${home.path}/calls`;
    const calls = "pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg";
    const strace = new Deno.Command("strace", {
      args: ["-f", "-y", "-qq", "-o", file, "-e", `trace=${calls}`, "-p", String(control.pid)],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      await eventually("it is watched", async () => {
        await make();
        return /HTTP\/1\.1 200/.test(await Deno.readTextFile(file).catch(() => ""));
      });
      for (let i = 0; i < 10; i++) await make();
    } finally {
      strace.kill("SIGINT");
      await strace.status;
    }

    let unsynced = false, syncs = 0, answers = 0;
    const syncing = new Set<string>();
    for (const line of (await Deno.readTextFile(file)).split("\n")) {
      const thread = line.split(" ")[0]!;
      if (/pwrite64\(\d+<[^>]*-wal>/.test(line)) unsynced = true;
      const isSync = /f(data)?sync\(\d+<[^>]*-wal>/.test(line);
      if (isSync && line.includes("unfinished")) syncing.add(thread);
      else if (isSync || (/f(data)?sync resumed/.test(line) && syncing.delete(thread))) {
        assert.match(line, /= 0$/);
        unsynced = false;
        syncs++;
      }
      if (!/"HTTP\/1\.1 200/.test(line)) continue;
      answers++;
      assert(!unsynced, line);
    }
    assert(answers >= 10 && syncs >= answers - 1, `${answers} answers, ${syncs} syncs`);
  },
});

Deno.test("STO-4: what was synced is whole, whatever of the rest a crash left behind it", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/live.db`;
    const secretOf = (i: number) => new Secret(`obx_${i}`);
    const kept: { database: Uint8Array; log: Uint8Array }[] = [];
    {
      await using store = await openSqliteStore(path, { clock: systemClock });
      const user = await store.createAccount("me", Date.now(), ENTRY);
      for (let i = 0; i < 8; i++) {
        const expiresAt = Date.now() + 3_600_000;
        await store.addUserToken(user, { ...userToken(secretOf(i)), expiresAt }, ENTRY);
        kept.push({ database: await copyOf(path), log: await copyOf(`${path}-wal`) });
      }
    }
    const whole = kept.at(-1)!.log;
    for (const [i, { database, log }] of kept.entries()) {
      const rest = whole.slice(log.length);
      const torn: Uint8Array[] = [
        new Uint8Array(),
        new Uint8Array(rest.length),
        rest.subarray(0, rest.length * Math.random()),
        // a page in the middle never got there
        rest.map((byte, at) => Math.floor(at / 512) % 3 === 1 ? 0 : byte),
        crypto.getRandomValues(new Uint8Array(5000)),
      ];
      for (const [k, behind] of torn.entries()) {
        const crashed = `${dir}/${i}-${k}.db`;
        await Deno.writeFile(crashed, database, { mode: 0o600 });
        await Deno.writeFile(`${crashed}-wal`, new Uint8Array([...log, ...behind]), {
          mode: 0o600,
        });
        {
          await using store = await openSqliteStore(crashed, { clock: systemClock });
          for (let n = 0; n <= i; n++) {
            assert(await store.userByToken(secretOf(n), Date.now()), `${n} of ${i}, ${k}`);
          }
        }
        const check = new DatabaseSync(crashed);
        assert.equal(check.prepare("pragma integrity_check").get()!.integrity_check, "ok");
        check.close();
      }
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

/** By another process: closing a handle of the file in this one would take SQLite's locks with it. */
async function copyOf(path: string): Promise<Uint8Array> {
  const { stdout } = await new Deno.Command("cat", { args: [path] }).output();
  return stdout;
}
