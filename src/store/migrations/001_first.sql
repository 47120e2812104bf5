-- Times are epoch milliseconds. Every row names its account, so that no look-up can leave it out.
-- Of tokens only the SHA-256 is kept.

create table accounts (
  account_id text primary key,
  created_at integer not null
) strict;

create table users (
  id text primary key,
  account_id text not null references accounts,
  name text not null,
  created_at integer not null,
  unique (account_id, name)
) strict;

create table user_tokens (
  id text primary key,
  account_id text not null references accounts,
  user_id text not null references users,
  name text not null,
  hash blob not null unique,
  created_at integer not null,
  expires_at integer not null,
  last_used_at integer
) strict;

create index user_tokens_user on user_tokens (account_id, user_id);

create table enroll_tokens (
  id text primary key,
  account_id text not null references accounts,
  hash blob not null unique,
  tags text not null,
  created_by text not null references users,
  created_at integer not null,
  expires_at integer not null,
  used_at integer,
  used_by text
) strict;

-- A deleted node keeps its row, so that its agent is told so and never taken for an unknown one.
create table nodes (
  id text primary key,
  account_id text not null references accounts,
  name text not null,
  addr text not null,
  os text not null,
  arch text not null,
  host_key text not null,
  token_hash blob not null unique,
  created_at integer not null,
  last_seen_at integer not null default 0,
  version text,
  boot_id text,
  cert_serial integer,
  cert_valid_after integer,
  cert_valid_before integer,
  deleted_at integer
) strict;

create index nodes_name on nodes (account_id, name);

create unique index nodes_host_key on nodes (host_key) where deleted_at is null;

create table node_tags (
  account_id text not null references accounts,
  node_id text not null references nodes,
  tag text not null,
  position integer not null,
  primary key (account_id, tag, node_id)
) strict;

create index node_tags_node on node_tags (account_id, node_id);

-- Serials of certificates, a block a row. The CA is one for all accounts, so account_id is null here:
-- the number line belongs to the installation.
create table serial_blocks (
  first integer primary key,
  account_id text references accounts,
  size integer not null,
  reserved_at integer not null
) strict;
