import { abortable, deadline } from "../../abort.ts";
import { Health } from "../../api/health.ts";
import { OpenboxError } from "../../errors.ts";
import { publicRoute } from "../route.ts";

const DATABASE_MS = 3000;

/** Asks the database, since without it nothing else works. */
export const health = publicRoute(
  {
    method: "GET",
    path: "/health",
    summary: "Whether the control plane and its database answer",
    answers: { 200: Health },
    anyHost: true,
  },
  async (_, { store }) => {
    using limit = deadline(
      DATABASE_MS,
      () => new OpenboxError("database_unavailable", "The database does not answer"),
    );
    await abortable(store.ping(), limit.signal);
    return { status: 200, body: { status: "ok" } };
  },
);

/** For a person with a browser. */
export const root = publicRoute(
  {
    method: "GET",
    path: "/",
    summary: "A line of text for a person",
    answers: { 200: "text/plain; charset=utf-8" },
  },
  () => Promise.resolve({ status: 200, body: "openbox control plane\n" }),
);
