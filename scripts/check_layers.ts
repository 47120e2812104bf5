/**
 * Holds the table "who may import whom" of docs/architecture.md against the module graph.
 *
 *     deno info --json main.ts | deno run --allow-read=. scripts/check_layers.ts
 *
 * The graph is Deno's own, so types, re-exports and `import()` count as imports. A file that main.ts
 * does not reach would escape the check, so it is a breach as well.
 */

const MODES = ["control", "agent", "daemon"];

/** What a folder of src/ may import besides itself and the base words (`src/*.ts`): a folder, or one file of it. */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  access: ["isolation/spec.ts"],
  api: [],
  ssh: [],
  transport: [],
  isolation: [],
  store: ["access"],
  home: [],
  service: [],
  ipc: ["api", "client/run_command.ts", "client/target.ts", "isolation/spec.ts"],
  ca: ["ssh"],
  session: ["isolation"],
  client: ["api", "ca", "isolation/spec.ts", "ssh", "transport"],
  release: ["ssh"],
  control: [
    "access",
    "api",
    "ca",
    "client",
    "home",
    "isolation/spec.ts",
    "ssh",
    "store",
    "transport",
  ],
  agent: ["api", "ca", "client", "home", "isolation", "session", "ssh", "transport"],
  daemon: ["api", "client", "home", "ipc", "isolation/spec.ts", "ssh", "transport"],
  cli: [
    ...[
      "access",
      "api",
      "ca",
      "client",
      "home",
      "ipc",
      "isolation",
      "release",
      "service",
      "session",
      "ssh",
      "store",
      "transport",
    ],
    ...MODES.map((mode) => `import() ${mode}`),
  ],
  "base words": [],
  "main.ts": ["cli"],
};

/** Which folders, or base words, may import a package. A built-in that is not named here is free. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "@hono/hono": ["control"],
  "@hono/node-server": ["control"],
  "@logtape/logtape": ["log.ts"],
  "@opentelemetry/api": ["control/tracing.ts"],
  "@stricli/core": ["cli"],
  "@valibot/to-json-schema": ["control/openapi.ts"],
  "dockerode": ["isolation"],
  "fast-string-width": ["cli"],
  "kysely": ["store"],
  "node:sqlite": ["store"],
  "postgres": ["store"],
  "smol-toml": ["agent", "home"],
  "ssh2": ["ssh"],
  "valibot": ["agent", "api", "client", "control", "daemon", "home", "store"],
};

/** The part that is read here of what `deno info --json` prints. */
export interface ModuleGraph {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly specifier: string;
      readonly code?: Target;
      readonly type?: Target;
      readonly isDynamic?: boolean;
    }[];
  }[];
}
interface Target {
  readonly specifier?: string;
  readonly span: { readonly start: { readonly line: number } };
}

/** One line a breach. `root` is the checkout's URL with a slash at its end, `files` all sources below it. */
export function findBreaches(graph: ModuleGraph, root: string, files: readonly string[]): string[] {
  const inside = (url: string) => url.startsWith(root) ? url.slice(root.length) : undefined;
  const breaches: string[] = [];
  const reached = new Set<string>();
  for (const module of graph.modules) {
    const file = inside(module.specifier);
    if (file === undefined) continue;
    reached.add(file);
    for (const dependency of module.dependencies ?? []) {
      const target = dependency.code ?? dependency.type;
      if (!target) continue;
      const imported = inside(target.specifier ?? "");
      const allowed = imported === undefined
        ? mayUsePackage(file, packageName(dependency.specifier))
        : mayImport(file, imported, dependency.isDynamic ?? false);
      if (allowed) continue;
      const what = imported ?? packageName(dependency.specifier);
      const how = dependency.isDynamic ? "imports() " : "imports ";
      breaches.push(
        `${file}:${target.span.start.line + 1} ${how}${what}, which ${folder(file)} may not`,
      );
    }
  }
  for (const file of files) {
    if (!reached.has(file)) breaches.push(`${file} is imported by nothing that main.ts reaches`);
  }
  return breaches;
}

/** The row of a file: its folder in src/, `base words` or `main.ts`. */
function folder(file: string): string {
  const [top, name, ...deeper] = file.split("/");
  if (top !== "src" || name === undefined) return file;
  return deeper.length > 0 ? name : "base words";
}

function mayImport(from: string, to: string, dynamic: boolean): boolean {
  const row = folder(from), target = folder(to);
  if (row === target || target === "base words") return true;
  const allowed = FOLDERS[row] ?? [];
  return allowed.includes(target) || allowed.includes(to.slice("src/".length)) ||
    (dynamic && allowed.includes(`import() ${target}`));
}

function mayUsePackage(from: string, name: string): boolean {
  const allowed = PACKAGES[name];
  if (!allowed) return name.startsWith("node:");
  return allowed.includes(folder(from)) || allowed.includes(from.slice("src/".length));
}

/** `ssh2` of `ssh2/lib/server.js`, `@scope/name` of `@scope/name/file.js`. */
function packageName(specifier: string): string {
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

function* sources(directory: string): Generator<string> {
  for (const entry of Deno.readDirSync(directory)) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory) yield* sources(path);
    else if (entry.name.endsWith(".ts")) yield path;
  }
}

if (import.meta.main) {
  const graph: ModuleGraph = await new Response(Deno.stdin.readable).json();
  const root = new URL("..", import.meta.url).href;
  const breaches = findBreaches(graph, root, [...sources("src")].sort());
  // deno-lint-ignore no-console -- a script's output
  for (const breach of breaches) console.error(breach);
  if (breaches.length > 0) Deno.exit(1);
}
