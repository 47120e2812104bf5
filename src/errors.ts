/**
 * The one error class and the one table of codes. A code is stable: scripts match it in `--json` and
 * in HTTP bodies. Its row says the HTTP status when a server answers with it and the exit code when
 * the CLI ends with it (docs/cli.md; `run` always ends with 255 on openbox's own failures).
 */
const INTERNAL = 1, USAGE = 2, NOT_ALLOWED = 3, NOT_FOUND = 4, CONFLICT = 5, UNAVAILABLE = 6;

export const CODES = {
  internal: [500, INTERNAL],
  // the request itself
  usage: [400, USAGE],
  bad_request: [400, USAGE],
  bad_public_key: [400, USAGE],
  invalid_name: [400, USAGE],
  body_too_large: [413, USAGE],
  header_too_large: [431, USAGE],
  wrong_host: [421, USAGE],
  method_not_allowed: [405, USAGE],
  not_supported: [400, USAGE],
  upgrade_required: [426, USAGE],
  command_too_long: [413, USAGE],
  bad_environment: [400, USAGE],
  bad_directory: [400, USAGE],
  isolation_invalid: [400, USAGE],
  limit_unsupported: [400, USAGE],
  mount_invalid: [400, USAGE],
  grant_invalid: [400, USAGE],
  // files and settings
  bad_file: [500, USAGE],
  unsafe_file: [500, NOT_ALLOWED],
  output_failed: [500, INTERNAL],
  bad_setting: [500, USAGE],
  // who is asking
  unauthorized: [401, NOT_ALLOWED],
  not_logged_in: [401, NOT_ALLOWED],
  scope: [403, NOT_ALLOWED],
  not_allowed: [403, NOT_ALLOWED],
  insecure_http: [403, NOT_ALLOWED],
  cross_site: [403, NOT_ALLOWED],
  enroll_token_invalid: [401, NOT_ALLOWED],
  enroll_token_used: [401, NOT_ALLOWED],
  key_proof: [401, NOT_ALLOWED],
  wrong_passphrase: [403, NOT_ALLOWED],
  node_deleted: [410, NOT_ALLOWED],
  node_cloned: [403, NOT_ALLOWED],
  ca_changed: [409, NOT_ALLOWED],
  host_key_mismatch: [502, NOT_ALLOWED],
  host_cert_expired: [502, NOT_ALLOWED],
  signature_invalid: [502, NOT_ALLOWED],
  cert_refused: [403, NOT_ALLOWED],
  cert_expired: [403, NOT_ALLOWED],
  cert_too_long: [403, NOT_ALLOWED],
  cert_wrong_account: [403, NOT_ALLOWED],
  cert_wrong_node: [403, NOT_ALLOWED],
  cert_wrong_principal: [403, NOT_ALLOWED],
  cert_unknown_option: [403, NOT_ALLOWED],
  revoked: [403, NOT_ALLOWED],
  revocations_stale: [403, NOT_ALLOWED],
  clock_skew: [403, NOT_ALLOWED],
  session_not_authorized: [403, NOT_ALLOWED],
  isolation_not_allowed: [403, NOT_ALLOWED],
  login_not_allowed: [403, NOT_ALLOWED],
  limit_not_allowed: [403, NOT_ALLOWED],
  mount_not_allowed: [403, NOT_ALLOWED],
  // what is not there, what is there already
  not_found: [404, NOT_FOUND],
  node_not_found: [404, NOT_FOUND],
  ambiguous: [409, CONFLICT],
  conflict: [409, CONFLICT],
  target_required: [400, USAGE],
  session_bound_elsewhere: [409, CONFLICT],
  session_isolation_mismatch: [409, CONFLICT],
  // what does not answer
  unavailable: [503, UNAVAILABLE],
  ca_locked: [503, UNAVAILABLE],
  database_unavailable: [503, UNAVAILABLE],
  audit_unavailable: [503, UNAVAILABLE],
  audit_broken: [500, INTERNAL],
  node_offline: [503, UNAVAILABLE],
  node_unreachable: [502, UNAVAILABLE],
  node_timeout: [504, UNAVAILABLE],
  isolation_unavailable: [503, UNAVAILABLE],
  docker_unavailable: [503, UNAVAILABLE],
  image_unavailable: [503, UNAVAILABLE],
  control_unreachable: [502, UNAVAILABLE],
  too_many: [429, UNAVAILABLE],
  quota: [429, UNAVAILABLE],
  lost: [502, UNAVAILABLE],
  untrusted_socket: [403, NOT_ALLOWED],
  cancelled: [499, 130],
} as const satisfies Record<string, readonly [status: number, exit: number]>;

export type Code = keyof typeof CODES;

export const isCode = (code: string): code is Code => Object.hasOwn(CODES, code);
export const httpStatus = (code: Code): number => CODES[code][0];
export const exitCode = (code: Code): number => CODES[code][1];

/**
 * A failure that a person is told: `message` says what failed, on what and why; `hint` is the way
 * out, a command or a setting. Neither holds a secret, a stack or an inner path of the control plane.
 */
export class OpenboxError extends Error {
  override readonly name = "OpenboxError";
  readonly code: Code;
  readonly hint: string | undefined;

  constructor(code: Code, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** Any thrown thing as an OpenboxError; what was not one becomes `internal` with its cause kept. */
export function toOpenboxError(error: unknown): OpenboxError {
  if (error instanceof OpenboxError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new OpenboxError("internal", text || "unknown failure", { cause: error });
}
