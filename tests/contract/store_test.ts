import { systemClock } from "../../src/clock.ts";
import { IN_MEMORY, openSqliteStore } from "../../src/store/sqlite.ts";
import { storeSuite } from "./store_suite.ts";

storeSuite("SQLite", () => openSqliteStore(IN_MEMORY, { clock: systemClock }));
