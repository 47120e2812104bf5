-- Who may do what. Rules belong to users; scopes, in a token, leave a part of them. Both are texts in the
-- one form of grants, and one that this program cannot read allows nothing.

create table rules (
  id text primary key,
  account_id text not null references accounts,
  user_id text not null references users,
  name text not null,
  grant_text text not null,
  created_at integer not null,
  created_by text,
  unique (account_id, user_id, name)
) strict;

-- Whoever was here before keeps what he could do, and the first user can say who else may.
insert into rules (id, account_id, user_id, name, grant_text, created_at)
  select 'rul_' || substr(id, 5) || '1', account_id, id, 'read', 'read', created_at from users;

insert into rules (id, account_id, user_id, name, grant_text, created_at)
  select 'rul_' || substr(id, 5) || '2', account_id, id, 'run', 'run', created_at from users;

insert into rules (id, account_id, user_id, name, grant_text, created_at)
  select 'rul_' || substr(id, 5) || '3', account_id, id, 'admin', 'admin', created_at from users
  where not exists (
    select 1 from users older where older.account_id = users.account_id and
      (older.created_at < users.created_at or
        (older.created_at = users.created_at and older.id < users.id))
  );

-- A removed user keeps his row, for what refers to it; his name is free again.
alter table users add column removed_at integer;

-- A JSON list of grants; null is all that the user may.
alter table user_tokens add column scopes text;

-- The token that this one was made with: it is revoked together with it.
alter table user_tokens add column created_by_token text;

alter table user_tokens add column revoked_at integer;

create index user_tokens_made_with on user_tokens (account_id, created_by_token);

alter table enroll_tokens add column name text;

-- How many nodes it may make, and how many more.
alter table enroll_tokens add column uses integer not null default 1;

alter table enroll_tokens add column uses_left integer not null default 1;

update enroll_tokens set uses_left = 0 where used_at is not null;

-- Its nodes are removed when they were not heard from for so long.
alter table enroll_tokens add column ephemeral_ms integer;

alter table enroll_tokens add column created_by_token text;

alter table enroll_tokens add column revoked_at integer;

create index enroll_tokens_open on enroll_tokens (account_id, expires_at)
  where uses_left > 0 and revoked_at is null;

alter table nodes add column ephemeral_ms integer;

create index nodes_ephemeral on nodes (last_seen_at) where ephemeral_ms is not null and deleted_at is null;

-- Which start of its agent was before the newest, and which one is taken for a copy on another machine, when.
alter table nodes add column boot_before text;

alter table nodes add column boot_at integer;

alter table nodes add column boot_refused text;

alter table nodes add column cloned_at integer;
