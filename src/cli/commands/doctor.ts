/** Looks through a set-up, says what is wrong with it and what mends it. */
import type { Host } from "../../host.ts";
import { usesColor } from "../color.ts";
import { findings } from "../doctor/check.ts";
import type { Finding } from "../doctor/check.ts";
import { allChecks } from "../doctor/checks.ts";
import { printJson, printLine } from "../output.ts";
import { showWaiting } from "../progress.ts";
import { utf8 } from "../../bytes.ts";
import { escape } from "../../escape.ts";
import type { JsonFlags } from "../flags.ts";

const MARK: Readonly<
  Record<Finding["verdict"], { readonly word: string; readonly color: number }>
> = {
  ok: { word: "ok", color: 32 },
  none: { word: "-", color: 2 },
  warning: { word: "warning", color: 33 },
  wrong: { word: "wrong", color: 31 },
};
const MARK_WIDTH = 9, NAME_WIDTH = 15;

/** 0 where nothing is wrong, else 1. A line a finding, as it comes. */
export async function doctor({ json }: JsonFlags, host: Host): Promise<number> {
  await using checks = allChecks({
    host,
    names: Object.keys(Deno.env.toObject()),
    uid: Deno.uid()!,
  });
  const all: (Finding & { name: string })[] = [];
  for (const check of checks.list) {
    const found = await lookAt(check, host);
    for (const finding of found) {
      all.push({ name: check.name, ...finding });
      if (!json) await show(check.name, finding, host);
    }
  }
  const isWrong = all.some(({ verdict }) => verdict === "wrong");
  if (json) {
    const rows = all.map(({ name, verdict, text, hint }) => ({
      check: name,
      verdict,
      text,
      hint: hint ?? null,
    }));
    await printJson({ ok: !isWrong, findings: rows }, host);
  } else {
    await printLine("", host);
    await printLine(summary(all), host);
  }
  return isWrong ? 1 : 0;
}

async function lookAt(check: Parameters<typeof findings>[0], host: Host) {
  await using _waiting = showWaiting(`looking at ${check.name} …`, host);
  return await findings(check, { signal: host.signal });
}

async function show(name: string, { verdict, text, hint }: Finding, host: Host): Promise<void> {
  const { word, color } = MARK[verdict];
  const mark = usesColor(host.stdout, host)
    ? `\x1b[${color}m${word}\x1b[0m${" ".repeat(MARK_WIDTH - word.length)}`
    : word.padEnd(MARK_WIDTH);
  const more = hint === undefined
    ? ""
    : `${" ".repeat(MARK_WIDTH + NAME_WIDTH)}→ ${escape(hint)}\n`;
  await host.stdout.write(utf8(`${mark}${name.padEnd(NAME_WIDTH)}${escape(text)}\n${more}`));
}

function summary(all: readonly Finding[]): string {
  const count = (verdict: Finding["verdict"]) =>
    all.filter((one) => one.verdict === verdict).length;
  const bad = count("wrong"), warnings = count("warning");
  const told = warnings === 0 ? "" : `, ${warnings} ${warnings === 1 ? "warning" : "warnings"}`;
  return bad === 0
    ? `nothing is wrong${told}`
    : `${bad} ${bad === 1 ? "thing is" : "things are"} wrong${told}`;
}
