/**
 * Whether an executable lies where a service can count on it: not where things are cleaned away, and not
 * where somebody could put another program in its place that then runs as the service's user.
 */
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";
import type { Placed } from "./service.ts";

const CLEANED = /^\/(tmp|var\/tmp|dev\/shm|run|private\/tmp|private\/var\/(tmp|folders))\//;
/** Folders of a user's home, or of the machine, that are emptied at will. */
const EMPTIED = /\/(\.cache|Caches|Downloads|\.Trash|\.local\/share\/Trash)\/|^\/var\/cache\//;
/** What the control plane's unit does not see (ProtectHome=). */
const HIDDEN = /^\/(home|root|run\/user)\//;

export interface PlaceOptions {
  readonly uid: number;
  /** For the hint: the place for programs that people install. */
  readonly better: string;
}

/** Throws `bad_setting` or `unsafe_file`. */
export async function requireStablePlace(
  path: string,
  { service, scope }: Placed,
  { uid, better }: PlaceOptions,
): Promise<void> {
  const install = `install -m 755 ${quoteWord(path)} ${better}, then ${better} service install …`;
  const refuse = (why: string) =>
    new OpenboxError("bad_setting", `${path} is no place for what a service starts: ${why}`, {
      hint: scope === "system" ? `sudo ${install}` : install,
    });
  const real = await Deno.realPath(path).catch(() => undefined);
  if (real === undefined || !(await Deno.stat(real)).isFile) throw refuse("there is no such file");
  if (CLEANED.test(real) || EMPTIED.test(real)) throw refuse("files there are cleaned away");
  if (service === "control" && scope === "system" && HIDDEN.test(real)) {
    throw refuse("the control plane, as a service, sees no home");
  }
  for (const place of upwards(real)) await requireSafe(place, { scope, uid });
}

function* upwards(path: string): Generator<string> {
  for (let place = path; place !== ""; place = place.slice(0, place.lastIndexOf("/"))) yield place;
  yield "/";
}

/** Root, or for his own service the user, is who may change it. */
async function requireSafe(
  place: string,
  { scope, uid }: { readonly scope: Placed["scope"]; readonly uid: number },
): Promise<void> {
  const { uid: owner, gid, mode } = await Deno.stat(place);
  const trusted = scope === "system" ? [0] : [0, uid];
  if (owner !== null && !trusted.includes(owner)) {
    throw unsafe(place, `it belongs to another user (uid ${owner})`, `chown ${trusted.at(-1)}`);
  }
  // many systems give each user a group of his own, and write its bit into his files
  const others = scope === "system" && gid !== 0 ? 0o022 : 0o002;
  if (mode !== null && (mode & others) !== 0) {
    throw unsafe(place, "other users may write there", "chmod go-w");
  }
}

const unsafe = (place: string, why: string, remedy: string) =>
  new OpenboxError(
    "unsafe_file",
    `Others could choose what the service starts: ${place}: ${why}`,
    { hint: `${remedy} ${quoteWord(place)}` },
  );
