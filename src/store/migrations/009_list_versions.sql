-- Which versions an account's revocation list had, so that a node's is known for one of them when the rows
-- that came with it say something newer, or are gone.
create table list_versions (
  account_id text not null references accounts,
  version integer not null,
  primary key (account_id, version)
) strict;

insert into list_versions (account_id, version)
  select account_id, version from revocations union select account_id, version from revocation_versions;

-- No other entry stands for these.
update revocations set listed = 1 where kind in ('key', 'cert');

-- For what belongs to the installation and any account may have revoked.
create index revocations_what on revocations (kind, id);
