/** Many nodes of the bench's control plane, in a few processes. */
import type { AgentsAsked } from "./agents.ts";
import type { World } from "./world.ts";

export interface Nodes extends AsyncDisposable {
  readonly ids: readonly string[];
}

const PROCESSES = 4;
const PROGRAM = new URL("agents.ts", import.meta.url).pathname;

/** Resolves when they all listen. */
export async function startNodes({ control, server }: World, count: number): Promise<Nodes> {
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ prefix: "openbox-bench-nodes-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const shares = Array.from({ length: PROCESSES }, (): Record<string, string> => ({}));
  for (let n = 0; n < count; n++) {
    shares[n % PROCESSES]![`many-${n}`] = (await control.createEnrollToken({ tags: [] })).token;
  }
  await Promise.all(shares.map(async (tokens) => {
    const child = stack.adopt(
      new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", "--no-prompt", "--no-check", PROGRAM],
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
      }).spawn(),
      end,
    );
    const asked: AgentsAsked = { server, directory, tokens };
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(JSON.stringify(asked) + "\n"));
    writer.releaseLock();
    const reader = child.stdout.getReader();
    if ((await reader.read()).done) throw new Error("the nodes did not start");
    reader.releaseLock();
  }));
  const nodes = (await control.nodes()).filter(({ name }) => name.startsWith("many-"));
  const owned = stack.move();
  return {
    ids: nodes.map(({ id }) => id),
    async [Symbol.asyncDispose]() {
      await owned.disposeAsync();
      for (const { id } of nodes) await control.deleteNode(id);
    },
  };
}

async function end(child: Deno.ChildProcess): Promise<void> {
  await child.stdin.close();
  await child.stdout.cancel();
  await child.status;
}
