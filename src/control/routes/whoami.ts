import { Whoami } from "../../api/whoami.ts";
import type { CaPublicKeys } from "../../ca/keys.ts";
import { authorizedLine } from "../../ssh/key.ts";
import type { CaNow } from "../ca.ts";
import { userRoute } from "../route.ts";

export const whoami = userRoute(
  {
    method: "GET",
    path: "/v1/whoami",
    needs: "self",
    summary: "Whose token this is, and both CA keys",
    answers: { 200: Whoami },
  },
  async (call, user, { ca, store, logins }) => {
    // what openbox login asks first; who asks on and on is told once a minute
    if (logins.take(user.tokenId) === 0) await store.recordAudit([call.audit("login")]);
    const now = await ca.now();
    const body: Whoami = {
      user_id: user.id,
      name: user.name,
      account_id: user.accountId,
      ...caLines(now.pair),
      ...caChain(now),
      token_expires_at: Math.floor(user.tokenExpiresAt / 1000),
    };
    return { status: 200, body };
  },
);

/** Both CA keys, under the names that mean what they say. */
export const caLines = ({ host, user }: CaPublicKeys) => ({
  host_ca_pubkey: authorizedLine(host),
  user_ca_pubkey: authorizedLine(user),
});

/** What leads from any pair that was pinned to the one of now. */
export const caChain = ({ statements }: CaNow) =>
  statements.length > 0 ? { ca_rotations: [...statements] } : {};
