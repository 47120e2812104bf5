/** The version that `openbox version` prints and that agents report; kept equal to deno.json by a test. */
export const VERSION = "0.1.0";
