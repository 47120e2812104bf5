/**
 * What the SSH server tells, as lines of the agent's log. Anybody who reaches the port makes it tell
 * something: of one kind a source gets one line in a while, and its next line counts what came between.
 * What is everyday is not shown.
 */
import { sourceOf } from "../ssh/admission.ts";

const QUIET_MS = 5_000;
/** Sources that are told apart, kind by kind; in a greater crowd the others share one line. */
const MAX_SOURCES = 1024;

type Tell = (event: string, fields: Record<string, unknown>) => void;

/** `now` is monotonic, in milliseconds. */
export function createSshLog(
  logger: { readonly debug: Tell; readonly info: Tell },
  now: () => number,
): Tell {
  /** The one whose line is the oldest comes first. */
  const lines = new Map<string, { readonly at: number; unshown: number }>();
  const isQuiet = (at: number) => now() - at < QUIET_MS;

  /** Whether there is room for another one. Where the oldest may still be quiet, it must not be forgotten. */
  const makeRoom = (): boolean => {
    if (lines.size < MAX_SOURCES) return true;
    const [oldest, { at }] = lines.entries().next().value!;
    return !isQuiet(at) && lines.delete(oldest);
  };

  return (event, fields) => {
    if (event === "connection ended" && fields.phase === "open") return logger.debug(event, fields);
    const own = `${event} ${sourceOf(String(fields.peer))}`;
    const key = lines.has(own) || makeRoom() ? own : event;
    const last = lines.get(key);
    if (last && isQuiet(last.at)) return void last.unshown++;
    lines.delete(key);
    lines.set(key, { at: now(), unshown: 0 });
    logger.info(event, last?.unshown ? { ...fields, unshown: last.unshown } : fields);
  };
}
