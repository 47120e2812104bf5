import { OpenboxError } from "../../errors.ts";
import { userRoute } from "../route.ts";

/** The numbers are those of all accounts together, so they are for the account that came with the first start. */
export const metrics = userRoute(
  {
    method: "GET",
    path: "/metrics",
    needs: "read",
    summary: "Numbers of this control plane, in the text format of Prometheus",
    answers: { 200: "text/plain; version=0.0.4; charset=utf-8" },
  },
  async (_, user, { store, observer }) => {
    if (await store.firstAccount() !== user.accountId) {
      throw new OpenboxError("scope", "The numbers of the control plane are for its own account");
    }
    return { status: 200, body: await observer.metrics.text() };
  },
);
