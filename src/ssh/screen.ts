/** A terminal as SSH asks for one (RFC 4254 §6.2 and §6.7). */
import { isTerm } from "../names.ts";
import { type Reader, u32 } from "./wire.ts";

/** In characters; 0 where the client does not know. */
export interface ScreenSize {
  readonly cols: number;
  readonly rows: number;
}

export interface TerminalRequest extends ScreenSize {
  /** What `TERM` shall say. */
  readonly term: string;
}

/** No screen has more; programs make tables of what they are told. */
const MOST = 4096;

/** What anybody may say of a size, as one that a program can bear. */
export const clampSize = ({ cols, rows }: ScreenSize): ScreenSize => ({
  cols: clamp(cols),
  rows: clamp(rows),
});

const clamp = (count: number): number =>
  Number.isInteger(count) ? Math.min(Math.max(count, 0), MOST) : 0;

/** Undefined where the name is none. Sizes in pixels and the modes of the client's terminal are read over. */
export function readPtyRequest(fields: Reader): TerminalRequest | undefined {
  const term = fields.text() || "dumb", size = readSize(fields);
  fields.bytes(); // modes
  return isTerm(term) ? { term, ...size } : undefined;
}

/** A `window-change`. */
export function readSize(fields: Reader): ScreenSize {
  const cols = fields.u32(), rows = fields.u32();
  fields.u32();
  fields.u32();
  return clampSize({ cols, rows });
}

/** What follows the type of a `window-change`. */
export const sizeFields = ({ cols, rows }: ScreenSize): Uint8Array[] => [cols, rows, 0, 0].map(u32);
