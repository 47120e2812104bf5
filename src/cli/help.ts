/** The help of a command or a group of commands, from what stricli knows of it, in the width of the terminal. */
import type { Command, RouteMap } from "@stricli/core";
import type { Context } from "./command.ts";

type Target = Command<Context> | RouteMap<Context>;
type Row = readonly [term: string, meaning: string];

/** A line is read no better for being longer. */
const MAX_WIDTH = 100, STANDARD_WIDTH = 80;
/** Where the meanings begin at most; a longer term has a line of its own. */
const MAX_INDENT = 30;

export interface HelpStyle {
  /** Of the terminal; undefined where there is none. */
  readonly columns: number | undefined;
  readonly color: boolean;
}

export function formatHelp(target: Target, prefix: readonly string[], style: HelpStyle): string {
  const width = Math.min(style.columns ?? STANDARD_WIDTH, MAX_WIDTH);
  const bold = (text: string) => style.color ? `\x1b[1m${text}\x1b[22m` : text;
  const section = (title: string, rows: readonly Row[]) =>
    rows.length > 0 ? [`${bold(title)}\n${formatRows(rows, width)}`] : [];
  const help: Row = ["-h, --help", "Show this help"];
  const body = "getAllEntries" in target
    ? [
      `${bold("Usage:")} ${prefix.join(" ")} COMMAND …`,
      ...description(target, width),
      ...section("Commands:", commands(target)),
      ...section("Flags:", [help]),
    ]
    : [
      `${bold("Usage:")} ${[...prefix, "[FLAGS]", ...usage(target)].join(" ")}`,
      ...description(target, width),
      ...section("Arguments:", positionals(target).map(({ name, brief }) => [name, brief])),
      ...section("Flags:", [...flags(target), help]),
    ];
  return [wrap(`${target.brief}.`, width, 0), ...body].join("\n\n") + "\n";
}

const description = ({ fullDescription }: Target, width: number): string[] =>
  fullDescription === undefined ? [] : [
    fullDescription.split("\n")
      // indented lines are examples, to be copied as they stand
      .map((line) => line.startsWith(" ") ? line : wrap(line, width, 0)).join("\n"),
  ];

const commands = (target: RouteMap<Context>): Row[] =>
  target.getAllEntries().filter((entry) => !entry.hidden)
    .map((entry) => [entry.name["convert-camel-to-kebab"], entry.target.brief]);

function positionals({ parameters }: Command<Context>) {
  const { positional } = parameters;
  if (!positional) return [];
  const many = positional.kind === "array";
  return (many ? [positional.parameter] : positional.parameters).map((parameter) => ({
    name: parameter.placeholder ?? "ARG",
    brief: parameter.brief,
    many,
    // an array without a minimum may be empty
    optional: parameter.optional || (many && !positional.minimum),
  }));
}

const usage = (target: Command<Context>): string[] =>
  positionals(target).map(({ name, many, optional }) => {
    const shown = many ? `${name}…` : name;
    return optional ? `[${shown}]` : shown;
  });

function flags({ parameters }: Command<Context>): Row[] {
  const aliases = Object.entries(parameters.aliases ?? {});
  return Object.entries(parameters.flags ?? {}).filter(([, flag]) =>
    !("hidden" in flag && flag.hidden)
  ).map(([key, flag]) => {
    const short = aliases.find(([, name]) => name === key)?.[0];
    const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const value = flag.kind === "parsed" ? ` ${flag.placeholder ?? "VALUE"}` : "";
    return [`${short ? `-${short}, ` : "    "}--${name}${value}`, flag.brief];
  });
}

function formatRows(rows: readonly Row[], width: number): string {
  const longest = Math.max(...rows.map(([term]) => term.length));
  const indent = Math.min(longest + 4, MAX_INDENT);
  return rows.map(([term, meaning]) => {
    const gap = term.length + 4 > indent
      ? `\n${" ".repeat(indent)}`
      : " ".repeat(indent - term.length - 2);
    return `  ${term}${gap}${wrap(meaning, width, indent)}`;
  }).join("\n");
}

/** Breaks `text` at blanks so that no line is longer than `width`, with `indent` blanks before all but the first. */
function wrap(text: string, width: number, indent: number): string {
  const room = Math.max(width - indent, 20);
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join(`\n${" ".repeat(indent)}`);
}
