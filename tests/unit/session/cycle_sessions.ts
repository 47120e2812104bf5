// deno-lint-ignore-file no-console
/** Starts and ends a session as often as its argument says, and prints the descriptors and jobs that it leaves. */
import { utf8 } from "../../../src/bytes.ts";
import { systemClock } from "../../../src/clock.ts";
import { openNativeBackend } from "../../../src/isolation/native/backend.ts";
import { NATIVE } from "../../../src/isolation/spec.ts";
import { chooseDialect } from "../../../src/session/dialect.ts";
import { openSessionTable } from "../../../src/session/table.ts";
import { isAlive } from "../../fixtures/processes.ts";
import { finish, PATH } from "./world.ts";

await using backend = await openNativeBackend();
const nothing = () => Promise.resolve();
await using table = await openSessionTable({
  records: { read: () => Promise.resolve([]), write: nothing, remove: nothing },
  clock: systemClock,
});
const start = {
  backend,
  spec: NATIVE,
  env: { PATH, HOME: "/" },
  cwd: "/",
  asked: new Map<string, string>(),
  dialect: () => chooseDialect("/bin/sh", PATH),
};
const key = { userId: "usr_1", name: "build" }, signal = new AbortController().signal;
const jobs: number[] = [];
async function cycle(): Promise<void> {
  {
    await using turn = await table.enter(key, start, { signal });
    const line = utf8("sleep 300 & echo $!");
    const { out } = await finish(await turn.run({ line, env: {}, cwd: undefined }));
    jobs.push(Number(out));
  }
  await table.end(key);
}
const countOpen = () => [...Deno.readDirSync("/proc/self/fd")].length;

await cycle();
const before = countOpen();
for (let count = Number(Deno.args[0]); count > 0; count--) await cycle();
console.log(JSON.stringify({ before, after: countOpen(), left: jobs.filter(isAlive) }));
