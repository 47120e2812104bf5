-- How far the audit was sent to a place outside. Of several control planes one sends at a time: the one that
-- holds the row until its time is over.
create table audit_sinks (
  sink text primary key,
  account_id text references accounts,
  seq integer not null,
  holder text not null,
  held_until integer not null
) strict;
