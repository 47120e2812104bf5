// deno-lint-ignore-file no-console
/** `deno task bench`: what a command, a connection, a byte and a node cost, beside OpenSSH in the same run. */
import { audit } from "./audit.ts";
import { commands } from "./commands.ts";
import { connections } from "./connections.ts";
import { containers } from "./containers.ts";
import { dispatches } from "./dispatches.ts";
import { keystrokes } from "./keystrokes.ts";
import { far } from "./far.ts";
import { many } from "./many.ts";
import { memory } from "./memory.ts";
import { nspawn } from "./nspawn.ts";
import { startOpenSsh } from "./openssh.ts";
import { registry } from "./registry.ts";
import { sessions } from "./sessions.ts";
import { formatTable, type Row } from "./stats.ts";
import { warm } from "./warm.ts";
import { throughput } from "./throughput.ts";
import { startWorld, type World } from "./world.ts";
import type { OpenSsh } from "./openssh.ts";

export interface Bench {
  readonly world: World;
  readonly ssh: OpenSsh;
  /** Progress, on stderr. */
  say(text: string): void;
}

/** In this order: memory at rest is looked at before anything connects. */
const SECTIONS: Record<string, (bench: Bench) => Promise<Row[]>> = {
  rest: memory.atRest,
  commands,
  warm,
  sessions,
  containers,
  nspawn,
  keystrokes,
  throughput,
  connections,
  dispatches,
  registry,
  audit,
  far,
  many,
  daemon: memory.daemon,
  slope: memory.slope,
};

const wanted = Deno.args.length > 0 ? Deno.args : Object.keys(SECTIONS);
const unknown = wanted.filter((name) => !(name in SECTIONS));
if (unknown.length > 0) {
  console.error(
    `bench: no section ${unknown.join(", ")}; there are ${Object.keys(SECTIONS).join(", ")}`,
  );
  Deno.exit(2);
}
const rows: Row[] = [];
{
  await using world = await startWorld();
  await using ssh = await startOpenSsh();
  const say = (text: string) => console.error(`bench: ${text}`);
  for (const [name, section] of Object.entries(SECTIONS)) {
    if (!wanted.includes(name)) continue;
    say(name);
    rows.push(...await section({ world, ssh, say }));
  }
}
const cpu = navigator.hardwareConcurrency;
console.log(
  `${Deno.build.os} ${Deno.build.arch}, ${cpu} cores, Deno ${Deno.version.deno}; medians, openbox and OpenSSH in turn\n`,
);
console.log(formatTable(rows));
if (rows.some(({ reached }) => reached === false)) Deno.exit(1);
