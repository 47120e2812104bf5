/** The tables of migrations/ as kysely sees them. */
import type { Generated } from "kysely";

export interface Tables {
  accounts: { account_id: string; created_at: number };
  users: {
    id: string;
    account_id: string;
    name: string;
    created_at: number;
    removed_at: number | null;
  };
  rules: {
    id: string;
    account_id: string;
    user_id: string;
    name: string;
    grant_text: string;
    created_at: number;
    /** A user; null for what was there from the start. */
    created_by: string | null;
  };
  user_tokens: {
    id: string;
    account_id: string;
    user_id: string;
    name: string;
    hash: Uint8Array;
    created_at: number;
    expires_at: number;
    last_used_at: number | null;
    /** A JSON list of grants; null: all. */
    scopes: string | null;
    created_by_token: string | null;
    revoked_at: number | null;
  };
  enroll_tokens: {
    id: string;
    account_id: string;
    hash: Uint8Array;
    /** A JSON list, in the order given. */
    tags: string;
    created_by: string;
    created_at: number;
    expires_at: number;
    /** The last use, and the node of it. */
    used_at: number | null;
    used_by: string | null;
    name: string | null;
    uses: number;
    uses_left: number;
    ephemeral_ms: number | null;
    created_by_token: string | null;
    revoked_at: number | null;
  };
  nodes: {
    id: string;
    account_id: string;
    name: string;
    addr: string;
    os: string;
    arch: string;
    host_key: string;
    token_hash: Uint8Array;
    created_at: number;
    last_seen_at: Generated<number>;
    version: string | null;
    boot_id: string | null;
    cert_serial: number | null;
    cert_valid_after: number | null;
    cert_valid_before: number | null;
    deleted_at: number | null;
    run_spool: string | null;
    run_event: number | null;
    ca_acknowledged: string | null;
    cert_authority: string | null;
    cert_held: string | null;
    revocations_version: number | null;
    revocations_signed_at: number | null;
    boot_before: string | null;
    boot_at: number | null;
    boot_refused: string | null;
    cloned_at: number | null;
    ephemeral_ms: number | null;
  };
  node_tags: { account_id: string; node_id: string; tag: string; position: number };
  sessions: {
    account_id: string;
    user_id: string;
    name: string;
    node_id: string;
    isolation: string;
    created_at: number;
    last_used_at: number;
    last_exit: number | null;
    /** `new` until its node said something of it, then that; `ended` where the node has it no more. */
    state: string;
  };
  session_ends: {
    account_id: string;
    node_id: string;
    user_id: string;
    name: string;
    requested_at: number;
  };
  serial_blocks: { first: number; account_id: string | null; size: number; reserved_at: number };
  revocations: {
    account_id: string;
    kind: string;
    id: string;
    version: number;
    /** Of kinds that end what was issued earlier. */
    issued_before: number | null;
    revoked_at: number;
    revoked_by: string;
    reason: string;
    /** 1 or 0. */
    listed: number;
  };
  revocation_versions: { account_id: string; version: number };
  list_versions: { account_id: string; version: number };
  operations_certs: {
    public_key: string;
    account_id: string | null;
    certificate: string;
    issued_at: number;
  };
  audit: {
    seq: number;
    account_id: string | null;
    at: number;
    uptime_ms: number;
    process: string;
    action: string;
    outcome: string;
    actor: string;
    token_id: string | null;
    source: string | null;
    request_id: string | null;
    subject: string | null;
    /** A JSON object. */
    detail: string;
    /** Hexadecimal. */
    hash: string;
  };
  ca_rotations: {
    kind: string;
    seq: number;
    account_id: string | null;
    step: string;
    statement: string | null;
    created_at: number;
  };
  ca_store: { id: number; account_id: string | null; version: number; text: string };
  audit_sinks: {
    sink: string;
    account_id: string | null;
    seq: number;
    holder: string;
    held_until: number;
  };
  schema_migrations: { name: string; checksum: string; applied_at: number };
}
