import type { Whoami } from "../../api/whoami.ts";
import type { CaPublicKeys } from "../../ca/keys.ts";
import { authorizedLine } from "../../ssh/key.ts";
import { userRoute } from "../route.ts";

export const whoami = userRoute(
  { method: "GET", path: "/v1/whoami" },
  async (call, user, { authority, store }) => {
    // what openbox login asks first, and nobody asks often
    await store.recordAudit([call.audit("login")]);
    const body: Whoami = {
      user_id: user.id,
      name: user.name,
      account_id: user.accountId,
      ...caLines(authority.publicKeys),
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
