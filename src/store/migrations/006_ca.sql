-- How trust went from one CA key to the next, a row a step, kept for ever: whoever pinned the first pair
-- years ago can still follow. The CA is one for all accounts, so account_id is null.
create table ca_rotations (
  kind text not null,
  seq integer not null,
  account_id text references accounts,
  step text not null,
  statement text,
  created_at integer not null,
  primary key (kind, seq)
) strict;

-- The sealed keys, where there is no file for them. One row, inserted once.
create table ca_store (
  id integer primary key,
  account_id text references accounts,
  version integer not null,
  text text not null
) strict;

-- Fingerprints: of the user CA keys that the node said it trusts, of the host CA key that signed its newest
-- certificate, and of the one that signed the certificate which it said it holds.
alter table nodes add column ca_acknowledged text;

alter table nodes add column cert_authority text;

alter table nodes add column cert_held text;
