/**
 * Run by the launcher when it has unpacked and checked: writes all of it to the disk, sets the time by which
 * each start sees that no file came or went, and gives it its name.
 * Of two at once the first wins, and the other's goes. What stands there damaged is taken out of the way.
 */
const [incoming, dir] = Deno.args;

for (const { name, isFile } of Deno.readDirSync(incoming)) {
  if (!isFile) continue;
  using file = Deno.openSync(`${incoming}/${name}`);
  file.syncDataSync();
}

// Deno's own cache comes and goes below it
Deno.mkdirSync(`${incoming}/code`, { recursive: true, mode: 0o700 });
Deno.utimeSync(`${incoming}/sums`, new Date(), new Date()); // by it an old version is known
const UNPACKED_AT = new Date("2000-01-02T12:00:00Z"); // the year is the same in every time zone
Deno.utimeSync(incoming, UNPACKED_AT, UNPACKED_AT);

/** Whose it is, who may what there, how long its files are, and whether one came or went. */
function look(path) {
  const files = [...Deno.readDirSync(path)].filter(({ isFile }) => isFile).map(({ name }) => name)
    .sort();
  return [".", ...files].map((name) => {
    const { uid, mode, size, mtime, isFile } = Deno.lstatSync(`${path}/${name}`);
    return [name, uid, mode, isFile ? size : mtime?.getTime()].join();
  }).join("\n");
}

function isThere() {
  try {
    return Deno.lstatSync(dir).isDirectory && look(dir) === look(incoming);
  } catch {
    return false;
  }
}

if (!isThere()) {
  const aside = `${incoming}.old`;
  try {
    Deno.renameSync(dir, aside);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  try {
    Deno.renameSync(incoming, dir);
  } catch (error) {
    if (!isThere()) throw error; // another start was first
  }
  try {
    Deno.removeSync(aside, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
