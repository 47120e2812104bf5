/**
 * Run by the launcher when it has unpacked and checked: writes all of it to the disk, and gives it its name.
 * Of two at once the first wins, and the other's goes. What stands there damaged is taken out of the way.
 */
const [incoming, dir] = Deno.args;

for (const { name, isFile } of Deno.readDirSync(incoming)) {
  if (!isFile) continue;
  using file = Deno.openSync(`${incoming}/${name}`);
  file.syncDataSync();
}

/** Whose it is, who may what there, and how long its files are. */
function look(path) {
  const files = [...Deno.readDirSync(path)].filter(({ isFile }) => isFile).map(({ name }) => name)
    .sort();
  return [".", ...files].map((name) => {
    const { uid, mode, size, isFile } = Deno.lstatSync(`${path}/${name}`);
    return [name, uid, mode, isFile && size].join();
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
