/**
 * What a shell begins with so that, where the memory of the machine runs out, Linux ends what callers
 * started and not the agent, which has to tell of it. As `joining`, it ends before the line's end.
 */
export const GOES_FIRST = Deno.build.os === "linux"
  ? "{ echo 500 >/proc/self/oom_score_adj; } 2>/dev/null || :; "
  : "";
