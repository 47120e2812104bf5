/** A control plane of its own, on a database that a section has filled before. */
import { formatCaKeys, generateCaKeys } from "../../src/ca/keys.ts";
import { newUserToken } from "../../src/ids.ts";
import { freePort } from "../fixtures/port.ts";
import { OPENBOX } from "./world.ts";

export interface BenchControl extends AsyncDisposable {
  readonly server: string;
  readonly token: string;
  readonly pid: number;
  /** From the start of its process to the first good answer, in ms. */
  readonly startMs: number;
}

/** `home` holds its database, or `database` names it. Its token is the first user's. */
export async function startBenchControl(
  home: string,
  database?: string,
): Promise<BenchControl> {
  const port = freePort(), server = `http://127.0.0.1:${port}`, token = newUserToken();
  const inherited = Object.fromEntries(
    ["PATH", "HOME", "DENO_DIR"].flatMap((name) => {
      const value = Deno.env.get(name);
      return value ? [[name, value]] : [];
    }),
  );
  // given: a database that is filled already has had its first start, and its CA with it
  const keys = formatCaKeys(generateCaKeys()).reveal();
  const startedAt = performance.now();
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", 'exec "$0" control 2>"$1"', OPENBOX, `${home}/control.log`],
    env: {
      ...inherited,
      OPENBOX_HOME: home,
      OPENBOX_ADDR: `127.0.0.1:${port}`,
      OPENBOX_BOOTSTRAP_TOKEN: token,
      OPENBOX_CA_KEY: keys,
      ...(database && { OPENBOX_DB: database }),
    },
    clearEnv: true,
    stdin: "null",
    stdout: "null",
  }).spawn();
  let ended = false;
  child.status.then(() => ended = true);
  for (;;) {
    const healthy = await fetch(`${server}/health`)
      .then(async (answer) => (await answer.body?.cancel(), answer.ok), () => false);
    if (healthy) break;
    if (ended || performance.now() - startedAt > 60_000) {
      if (!ended) child.kill("SIGKILL");
      throw new Error(await Deno.readTextFile(`${home}/control.log`));
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return {
    server,
    token,
    pid: child.pid,
    startMs: performance.now() - startedAt,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}

/** Seconds of a core that the process has used so far. Linux. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
