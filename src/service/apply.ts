/** Installs, removes and looks at a service: its manager says what is to be done, and here it is done. */
import { type AbortOptions, deadline } from "../abort.ts";
import { utf8 } from "../bytes.ts";
import type { Clock } from "../clock.ts";
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";
import type {
  Placed,
  ServiceFile,
  ServiceManager,
  ServiceSpec,
  ServiceStatus,
  Step,
} from "./service.ts";
import { LINGERS } from "./systemd_units.ts";

/** Runs a command of the manager; resolves however it ended. */
export type RunTool = (
  command: readonly string[],
  options: Required<AbortOptions>,
) => Promise<{ readonly success: boolean; readonly stdout: string; readonly stderr: string }>;

export interface ApplyDeps {
  readonly manager: ServiceManager;
  readonly run: RunTool;
  readonly clock: Clock;
}

export interface WrittenFile {
  readonly path: string;
  readonly change: "written" | "unchanged";
}

/** A service has a while to become ready, and one command of a manager no more than that. */
const STEP_MS = 150_000;
const TRIES = 50, BETWEEN_TRIES_MS = 100;

/** Idempotent: files that are as they should be stay, and what runs by them goes on. */
export async function installService(
  spec: ServiceSpec,
  deps: ApplyDeps,
  options: Required<AbortOptions>,
): Promise<WrittenFile[]> {
  const { manager } = deps, files = manager.files(spec);
  await carryOut(manager.prepare(spec), { ...deps, placed: spec }, options);
  const written: WrittenFile[] = [];
  for (const file of files) written.push(await write(file));
  const changed = written.some(({ change }) => change === "written");
  await carryOut(manager.activate(spec, { changed }), { ...deps, placed: spec }, options);
  return written;
}

/** The paths of what was removed: empty where there was nothing. */
export async function uninstallService(
  placed: Placed,
  deps: ApplyDeps,
  options: Required<AbortOptions>,
): Promise<string[]> {
  const { manager } = deps, paths = await existing(manager.paths(placed));
  if (paths.length === 0) return [];
  const lingers = await madeLinger(placed, manager);
  await carryOut(manager.deactivate(placed), { ...deps, placed }, options);
  for (const path of paths) await Deno.remove(path);
  await carryOut(manager.forget(placed, { lingers }), { ...deps, placed }, options);
  return paths;
}

/** Whether an install had the user's services go on without a login: its file keeps that. */
export async function madeLinger(placed: Placed, { paths }: ServiceManager): Promise<boolean> {
  const texts = paths(placed).map((path) => Deno.readTextFile(path).catch(() => ""));
  return (await Promise.all(texts)).some((text) => text.includes(LINGERS));
}

/** Undefined where that is no question. */
export async function isLingering(
  placed: Placed,
  { manager, run }: ApplyDeps,
  options: Required<AbortOptions>,
): Promise<boolean | undefined> {
  const ask = manager.askLingering(placed);
  if (!ask) return undefined;
  const { success, stdout } = await run(ask.command, options);
  return success && ask.read(stdout);
}

export async function serviceStatus(
  placed: Placed,
  { manager, run }: ApplyDeps,
  options: Required<AbortOptions>,
): Promise<ServiceStatus> {
  const { command, read } = manager.askStatus(placed);
  const { success, stdout } = await run(command, options);
  const { service, scope } = placed, told = read(stdout, success);
  return { service, scope, installed: (await existing([told.file])).length > 0, ...told };
}

/** Replaced in one step. Everybody may read it. */
async function write({ path, text }: ServiceFile): Promise<WrittenFile> {
  const before = await Deno.readTextFile(path).catch(() => undefined);
  if (before === text) return { path, change: "unchanged" };
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true, mode: 0o755 });
    await Deno.writeFile(temporary, utf8(text), { createNew: true, mode: 0o644 });
    await Deno.chmod(temporary, 0o644); // whatever the umask
    await Deno.rename(temporary, path);
  } catch (cause) {
    throw new OpenboxError("bad_file", `Cannot write ${path}: ${(cause as Error).message}`, {
      cause,
    });
  } finally {
    await Deno.remove(temporary).catch(() => {}); // gone after the rename
  }
  return { path, change: "written" };
}

async function existing(paths: readonly string[]): Promise<string[]> {
  const there: string[] = [];
  for (const path of paths) {
    if (await Deno.lstat(path).then(() => true, () => false)) there.push(path);
  }
  return there;
}

interface StepDeps extends ApplyDeps {
  readonly placed: Placed;
}

async function carryOut(
  steps: readonly Step[],
  { run, manager, placed, clock }: StepDeps,
  options: Required<AbortOptions>,
): Promise<void> {
  for (const { command, mayFail, tryAgain } of steps) {
    const fail = (why: string) =>
      new OpenboxError("unavailable", `${command.map(quoteWord).join(" ")} failed: ${why}`, {
        hint: NO_MANAGER.test(why) ? NO_MANAGER_HINT : manager.logCommand(placed),
      });
    using limit = deadline(STEP_MS, () => fail("it did not end in time"), options);
    for (let tries = tryAgain ? TRIES : 1; tries > 0; tries--) {
      const { success, stdout, stderr } = await run(command, limit);
      if (success || mayFail) break;
      if (tries === 1) throw fail(stderr.trim() || stdout.trim() || "it said nothing");
      await clock.sleep(BETWEEN_TRIES_MS, limit);
    }
  }
}

const NO_MANAGER = /connect to bus|DBUS_SESSION_BUS_ADDRESS/;
const NO_MANAGER_HINT =
  "your own services need a login of yours (by ssh or on the console, not su), or sudo loginctl enable-linger USER";
