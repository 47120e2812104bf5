-- What was done, by whom, one record after the other: a record's hash covers the one before (audit.ts). A
-- record is never changed. account_id is null where it concerns the installation.
create table audit (
  seq integer primary key,
  account_id text references accounts,
  at integer not null,
  uptime_ms integer not null,
  process text not null,
  action text not null,
  outcome text not null,
  actor text not null,
  token_id text,
  source text,
  request_id text,
  subject text,
  detail text not null,
  hash text not null
) strict;

create index audit_account on audit (account_id, seq);

-- How far the reports of a node's runs came: its spool, and the last of that one's events that was taken in.
alter table nodes add column run_spool text;

alter table nodes add column run_event integer;
