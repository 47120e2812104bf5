/** Opens the store at the path given, makes an account, says so, and holds it until it is killed. */
import { ENTRY } from "../../fixtures/audit_entry.ts";
import { systemClock } from "../../../src/clock.ts";
import { openSqliteStore } from "../../../src/store/sqlite.ts";

const store = await openSqliteStore(Deno.args[0]!, { clock: systemClock });
await store.createAccount("holder", Date.now(), ENTRY);
await Deno.stdout.write(new TextEncoder().encode("held\n"));
setInterval(() => store.ping(), 1000);
