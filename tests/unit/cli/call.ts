/** One call of the CLI in this process, in a home of its own. */
import { run } from "../../../src/cli/start.ts";
import { type FakeHost, fakeHost, type FakeHostOptions } from "../../fakes/host.ts";

export interface Called {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly host: FakeHost;
}

export interface Home extends AsyncDisposable {
  readonly path: string;
  readonly config: string;
  /** Runs `openbox ARGS…` with OPENBOX_HOME set to this home. */
  call(args: readonly string[], options?: Omit<FakeHostOptions, "args">): Promise<Called>;
}

export async function makeHome(): Promise<Home> {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/home`;
  return {
    path,
    config: `${path}/config.json`,
    async call(args, options = {}) {
      const host = fakeHost({ ...options, args, env: { OPENBOX_HOME: path, ...options.env } });
      const code = await run(host);
      return { code, out: host.out.text(), err: host.err.text(), host };
    },
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}
