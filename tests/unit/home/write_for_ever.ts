/** Saves a file of one repeated digit again and again until it is killed. Arguments: path, length. */
import { writePrivateFile } from "../../../src/home/private_file.ts";

const [path, length] = Deno.args as [string, string];
const say = (word: string) => Deno.stdout.write(new TextEncoder().encode(`${word}\n`));
try {
  for (let i = 0;; i = (i + 1) % 10) {
    await writePrivateFile(path, `${i}`.repeat(Number(length)));
    if (i === 0) await say("saved");
  }
} catch {
  await say("failed");
}
