import width from "fast-string-width";
import { escape } from "../escape.ts";

/** Rows in columns, two blanks between them, nothing cut: a terminal wraps, a script reads it all. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const lines = rows.map((row) => row.map(escape));
  const widths = lines[0]!.map((_, column) =>
    Math.max(...lines.map((line) => width(line[column] ?? "")))
  );
  return lines.map((line) =>
    line.map((cell, column) =>
      column === line.length - 1 ? cell : cell + " ".repeat(widths[column]! - width(cell) + 2)
    ).join("") + "\n"
  ).join("");
}
