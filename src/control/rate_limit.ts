/** How often somebody may do something: a bucket a key, filled by time. */
import type { Clock } from "../clock.ts";
import { OpenboxError } from "../errors.ts";

export interface RateLimitOptions {
  readonly perSecond: number;
  /** How much may be used at once after a rest. */
  readonly burst: number;
}

export interface RateLimit {
  /** Takes one from the key's bucket. 0, or the seconds until there is one again. */
  take(key: string): number;
}

const MAX_KEYS = 10_000;

/** Memory is bounded: a key that was not seen while as many others were as there is room for is forgotten. */
export function createRateLimit({ perSecond, burst }: RateLimitOptions, clock: Clock): RateLimit {
  type Buckets = Map<string, { left: number; at: number }>;
  let recent: Buckets = new Map(), before: Buckets = new Map();
  return {
    take(key) {
      const now = clock.now();
      const bucket = recent.get(key) ?? before.get(key) ?? { left: burst, at: now };
      recent.set(key, bucket);
      if (recent.size >= MAX_KEYS) {
        before = recent;
        recent = new Map();
      }
      // a clock that was set back fills nothing
      const elapsed = Math.max(0, now - bucket.at) / 1000;
      bucket.left = Math.min(burst, bucket.left + elapsed * perSecond);
      bucket.at = now;
      if (bucket.left < 1) return Math.ceil((1 - bucket.left) / perSecond);
      bucket.left--;
      return 0;
    },
  };
}

/** Answered with 429 and Retry-After. */
export class TooMany extends OpenboxError {
  readonly retryAfterSeconds: number;
  constructor(message: string, retryAfterSeconds: number) {
    super("too_many", message, { hint: `try again in ${retryAfterSeconds} s` });
    this.retryAfterSeconds = retryAfterSeconds;
  }
}
