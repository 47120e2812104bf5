import assert from "node:assert/strict";
import { answers } from "../../../src/daemon/answers.ts";

Deno.test("a daemon that says something is alive, one that is silent or gone is not", async () => {
  const directory = await Deno.makeTempDir(), path = `${directory}/sock`;
  const listener = Deno.listen({ transport: "unix", path });
  const look = async (onConn: (conn: Deno.UnixConn) => Promise<unknown>) => {
    const accepted = listener.accept();
    const looked = answers(path, { signal: AbortSignal.timeout(300) }).then(
      () => true,
      () => false,
    );
    const conn = await accepted;
    await onConn(conn);
    const isAlive = await looked;
    conn.close();
    return isAlive;
  };
  assert.equal(await look((conn) => conn.write(new Uint8Array([0]))), true);
  assert.equal(await look(() => Promise.resolve()), false);
  listener.close();
  await assert.rejects(answers(path, { signal: AbortSignal.timeout(300) }));
  await Deno.remove(directory, { recursive: true });
});
