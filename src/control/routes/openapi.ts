import { publicRoute } from "../route.ts";

/** For tools: nothing in it is a secret, and everybody may have it without a token. */
export const openapi = publicRoute(
  {
    method: "GET",
    path: "/openapi.json",
    summary: "This description",
    answers: { 200: "application/json" },
  },
  async () => ({ status: 200, body: await (described ??= describe()) }),
);

/** Made once: it changes with the program alone. */
let described: Promise<string> | undefined;

async function describe(): Promise<string> {
  const [{ describeApi }, { ROUTES }] = await Promise.all([
    import("../openapi.ts"),
    import("./table.ts"),
  ]);
  return JSON.stringify(describeApi(ROUTES), null, 2);
}
