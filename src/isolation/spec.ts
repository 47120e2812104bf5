import { OpenboxError } from "../errors.ts";

/** A parsed isolation: the only form that leaves the edge. */
export type IsolationSpec =
  | { readonly kind: "native" }
  | { readonly kind: "docker"; readonly image: string }
  | { readonly kind: "nspawn"; readonly root: string };

export const NATIVE: IsolationSpec = { kind: "native" };

/** The text form: `native`, `docker:IMAGE`, `nspawn:DIR`. */
export function formatIsolation(spec: IsolationSpec): string {
  switch (spec.kind) {
    case "native":
      return "native";
    case "docker":
      return `docker:${spec.image}`;
    case "nspawn":
      return `nspawn:${spec.root}`;
  }
}

// An image reference as docker's distribution/reference has it: [domain[:port]/]path[:tag][@digest]
const LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const DOMAIN = `(?:${LABEL}(?:\\.${LABEL})*|\\[[0-9a-fA-F:]+\\])(?::[0-9]{1,5})?`;
const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const IMAGE = new RegExp(
  `^(?:${DOMAIN}/)?${COMPONENT}(?:/${COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[a-f0-9]{64})?$`,
);
const IMAGE_ID = /^(?:sha256:)?[a-f0-9]{64}$/;
const MAX_IMAGE = 255, MAX_SPEC = 4096;
// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f\u2028\u2029\u202a-\u202e]/;

/**
 * Parses an isolation, exactly: nothing is trimmed, folded or guessed, and an unknown form is refused
 * with `isolation_invalid`. An image never begins with `-`, so it cannot become an option of docker.
 */
export function parseIsolation(text: string): IsolationSpec {
  const refuse = (why: string): never => {
    throw new OpenboxError(
      "isolation_invalid",
      `Isolation ${JSON.stringify(text.slice(0, 80))}: ${why}`,
      {
        hint: "native, docker:IMAGE or nspawn:/ABSOLUTE/DIR",
      },
    );
  };
  if (text.length > MAX_SPEC) refuse("too long");
  if (CONTROL.test(text)) refuse("it holds a control character");
  if (text !== text.trim()) refuse("it begins or ends with a blank");
  const colon = text.indexOf(":");
  const kind = colon < 0 ? text : text.slice(0, colon);
  const rest = colon < 0 ? undefined : text.slice(colon + 1);
  switch (kind) {
    case "native":
      return rest === undefined ? NATIVE : refuse("native takes no argument");
    case "docker":
      if (!rest) return refuse("an image is missing");
      if (!IMAGE_ID.test(rest) && (rest.length > MAX_IMAGE || !IMAGE.test(rest))) {
        return refuse("not an image reference");
      }
      return { kind, image: rest };
    case "nspawn": {
      if (!rest) return refuse("a directory is missing");
      if (!rest.startsWith("/")) return refuse("the directory must be absolute");
      const parts = rest.split("/").filter((part) => part !== "");
      if (parts.some((part) => part === "." || part === "..")) {
        return refuse("the directory may not hold . or ..");
      }
      if (parts.length === 0) return refuse("the machine's own root cannot be used");
      return { kind, root: "/" + parts.join("/") };
    }
    default:
      return refuse("unknown kind");
  }
}
