/** Where time comes from in openbox: looked for in its sources, since a test's machine shows only one place and one day. */
import assert from "node:assert/strict";

const SRC = new URL("../../src/", import.meta.url);

async function* sources(folder: URL): AsyncGenerator<{ name: string; lines: string[] }> {
  for await (const entry of Deno.readDir(folder)) {
    const url = new URL(entry.isDirectory ? `${entry.name}/` : entry.name, folder);
    if (entry.isDirectory) yield* sources(url);
    else if (/\.(ts|sql)$/.test(entry.name)) {
      const text = await Deno.readTextFile(url);
      yield { name: url.href.slice(SRC.href.length), lines: text.split("\n") };
    }
  }
}

async function find(pattern: RegExp): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, lines } of sources(SRC)) {
    lines.forEach((line, i) => {
      if (pattern.test(line)) found.push(`${name}:${i + 1}: ${line.trim()}`);
    });
  }
  return found;
}

Deno.test("CLK-6: no database is asked for the time: each decision goes by the control plane's clock", async () => {
  const asks =
    /\b(now|clock_timestamp|statement_timestamp|unixepoch|julianday|strftime)\(|\bcurrent_(time|date|timestamp)\b/i;
  const found = (await find(asks)).filter((line) => /^store\//.test(line));
  assert.deepEqual(found.filter((line) => !/\.now\(\)|\bnow\(\): number/.test(line)), []);
  assert((await find(/\.now\(\)/)).length > 10, "the search sees the sources");
});

Deno.test("CLK-4: nothing asks for the local time of day, and times are shown in UTC", async () => {
  const local =
    /\.(get|set)(Hours|Minutes|Seconds|Day|Date|Month|FullYear|TimezoneOffset)\(|toLocale\w*\(|toDateString|toTimeString|Intl\.DateTimeFormat|new Date\(\d+,/;
  assert.deepEqual(await find(local), []);
  assert((await find(/toISOString\(\)/)).length > 3, "the search sees the sources");
});
