/** The names of openbox's critical options (docs/protocol.md), in one place for the one that writes and the one that reads. */
export const OPTION = {
  account: "openbox-account@openbox.io",
  node: "openbox-node@openbox.io",
  isolation: "openbox-isolation@openbox.io",
  session: "openbox-session@openbox.io",
  login: "openbox-login@openbox.io",
} as const;

/** Extensions, which whoever does not know them ignores. */
export const EXTENSION = {
  /** The id of the token that the certificate was asked for with, so that revoking it reaches what runs. */
  token: "openbox-token@openbox.io",
} as const;

/** A user certificate is valid this long before and after its issue: two clocks may differ by as much. */
export const USER_CERT_MARGIN_SECONDS = 5 * 60;
/** What an agent accepts from valid-after to valid-before. */
export const USER_CERT_MAX_SECONDS = 10 * 60;
/** The whole life of a host certificate; the agent renews it at two thirds. */
export const HOST_CERT_SECONDS = 30 * 24 * 3600;
/** A host certificate begins this long before its issue, for callers whose clock is behind. */
export const HOST_CERT_MARGIN_SECONDS = 5 * 60;

/** The only principal of an operations certificate. Ids of nodes begin otherwise: no client takes it for a node. */
export const OPERATIONS_PRINCIPAL = "openbox-operations";
/** The whole life of an operations certificate; the control plane renews it at two thirds. */
export const OPERATIONS_CERT_SECONDS = 90 * 24 * 3600;

/**
 * A principal in the one form that no reader splits, trims or folds (CVE-2026-35414: a comma).
 * The same alphabet as for user names and node ids.
 */
export const isPrincipal = (name: string): boolean => /^[A-Za-z0-9._-]{1,64}$/.test(name);
