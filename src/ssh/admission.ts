/**
 * Who may begin a key exchange, which costs the server milliseconds of its one thread. A connection is
 * silent until its version line is here; then it takes a slot, or waits in line for one; authenticated it
 * gives the slot back. Everything is counted in all and by source, so that one source cannot shut out
 * another, and a silent crowd cannot shut out anybody.
 */
import { isIPv6 } from "node:net";

export interface AdmissionLimits {
  readonly slots: number;
  readonly slotsPerSource: number;
  readonly waiting: number;
  readonly waitingPerSource: number;
  readonly silent: number;
}

export const ADMISSION_LIMITS: AdmissionLimits = {
  slots: 64,
  slotsPerSource: 16,
  waiting: 512,
  waitingPerSource: 128,
  silent: 2048,
};

/** One connection that is not authenticated. */
export interface Candidate {
  readonly source: string;
  /** Its turn: it has a slot now. */
  begin(): void;
  /** No room: to be closed without an answer. */
  turnAway(): void;
}

type State = "silent" | "waiting" | "exchanging";

export class Admission {
  readonly #limits: AdmissionLimits;
  /** In order of arrival, as a Map keeps it. */
  readonly #states = new Map<Candidate, State>();
  readonly #line = new Set<Candidate>();
  readonly #counts = { silent: new Tally(), waiting: new Tally(), exchanging: new Tally() };

  constructor(limits: AdmissionLimits = ADMISSION_LIMITS) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#states.size;
  }

  /** A connection was accepted and has said nothing yet; the oldest silent one makes room for it. */
  arrive(candidate: Candidate): void {
    if (this.#counts.silent.all >= this.#limits.silent) {
      for (const [oldest, state] of this.#states) {
        if (state !== "silent") continue;
        this.leave(oldest);
        oldest.turnAway();
        break;
      }
    }
    this.#states.set(candidate, "silent");
    this.#counts.silent.add(candidate.source);
  }

  /** Its version line is here: it begins at once, waits, or is turned away. */
  speak(candidate: Candidate): void {
    if (this.#states.get(candidate) !== "silent") return;
    if (this.#hasSlot(candidate.source)) return this.#start(candidate);
    const { waiting } = this.#counts, { source } = candidate;
    if (
      waiting.all >= this.#limits.waiting || waiting.of(source) >= this.#limits.waitingPerSource
    ) {
      this.leave(candidate);
      return candidate.turnAway();
    }
    this.#move(candidate, "waiting");
    this.#line.add(candidate);
  }

  /** Authenticated, or closed in whatever state: what it held goes to the next in line. Idempotent. */
  leave(candidate: Candidate): void {
    const state = this.#states.get(candidate);
    if (!state) return;
    this.#states.delete(candidate);
    this.#line.delete(candidate);
    this.#counts[state].remove(candidate.source);
    if (state === "exchanging") this.#callNext();
  }

  #callNext(): void {
    for (const candidate of this.#line) {
      if (this.#counts.exchanging.all >= this.#limits.slots) return;
      if (!this.#hasSlot(candidate.source)) continue;
      this.#line.delete(candidate);
      this.#start(candidate);
    }
  }

  #start(candidate: Candidate): void {
    this.#move(candidate, "exchanging");
    candidate.begin();
  }

  #hasSlot(source: string): boolean {
    const { exchanging } = this.#counts;
    return exchanging.all < this.#limits.slots &&
      exchanging.of(source) < this.#limits.slotsPerSource;
  }

  #move(candidate: Candidate, to: State): void {
    this.#counts[this.#states.get(candidate)!].remove(candidate.source);
    this.#states.set(candidate, to);
    this.#counts[to].add(candidate.source);
  }
}

class Tally {
  #all = 0;
  readonly #bySource = new Map<string, number>();
  get all(): number {
    return this.#all;
  }
  of(source: string): number {
    return this.#bySource.get(source) ?? 0;
  }
  add(source: string): void {
    this.#all++;
    this.#bySource.set(source, this.of(source) + 1);
  }
  remove(source: string): void {
    this.#all--;
    const left = this.of(source) - 1;
    if (left > 0) this.#bySource.set(source, left);
    else this.#bySource.delete(source);
  }
}

/** What counts as one source: an IPv4 address, or the /64 that one IPv6 host commonly has to itself. */
export function sourceOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, "");
  if (!isIPv6(plain)) return plain;
  const [head = "", tail] = plain.replace(/%.*$/, "").split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail ? tail.split(":") : [];
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<string>(Math.max(0, zeros)).fill("0"), ...right];
  return `${groups.slice(0, 4).join(":")}::/64`;
}
