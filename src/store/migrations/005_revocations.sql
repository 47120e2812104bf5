-- What nodes are not to believe any more. `version` is that of the account's list in which it appeared
-- first. Rows that are not `listed` stand for the control plane alone: another row covers them at the nodes.
create table revocations (
  account_id text not null references accounts,
  kind text not null,
  id text not null,
  version integer not null,
  issued_before integer,
  revoked_at integer not null,
  revoked_by text not null,
  reason text not null,
  listed integer not null,
  primary key (account_id, kind, id)
) strict;

create table revocation_versions (
  account_id text primary key references accounts,
  version integer not null
) strict;

-- Certificates of operations keys. Each process may have a key of its own; no private half is in here. They
-- belong to the installation, so account_id is null.
create table operations_certs (
  public_key text primary key,
  account_id text references accounts,
  certificate text not null,
  issued_at integer not null
) strict;

-- The list that a node said it holds: a version, and when that was signed.
alter table nodes add column revocations_version integer;

alter table nodes add column revocations_signed_at integer;
