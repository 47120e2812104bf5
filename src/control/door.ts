/**
 * What answers before the control plane can: a start that waits for its database already has its port,
 * and says what it waits for instead of leaving callers without a word.
 */
import type { ErrorBody } from "../api/error.ts";
import { httpStatus } from "../errors.ts";
import { newRequestId } from "../ids.ts";
import type { App } from "./app.ts";

export interface Door extends Pick<App, "fetch"> {
  /** From now on the app answers. */
  open(app: Pick<App, "fetch">): void;
}

export function createDoor(): Door {
  let inside: Pick<App, "fetch"> | undefined;
  return {
    fetch: (...request) => inside ? inside.fetch(...request) : notYet(),
    open(app) {
      inside = app;
    },
  };
}

function notYet(): Response {
  const code = "database_unavailable";
  const body: ErrorBody = {
    error: "The control plane is starting: it waits for its database",
    code,
    hint: "try again; the control plane's log says why it waits",
    request_id: newRequestId(),
  };
  return new Response(JSON.stringify(body), {
    status: httpStatus(code),
    headers: {
      "content-type": "application/json",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "retry-after": "1",
      // a body may be on its way that nobody reads
      "connection": "close",
    },
  });
}
