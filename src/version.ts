/** The version that `openbox version` prints and that agents report; kept equal to deno.json by a test. */
export const VERSION = "0.1.0";

/** How this program was made; `scripts/build` writes its own values into what it builds. */
export const BUILD: {
  readonly form: "source" | "offline" | "compiled";
  /** Of the sources; from a checkout it is for git to say. */
  readonly commit: string | null;
  /** OWNER/NAME on GitHub, where its releases are. */
  readonly repository: string | null;
} = { form: "source", commit: null, repository: null };
