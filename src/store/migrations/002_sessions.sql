-- To which node a user's session belongs. A row lives from the first call to the unbinding; what the node
-- says of the shell is only kept with it.
create table sessions (
  account_id text not null references accounts,
  user_id text not null references users,
  name text not null,
  node_id text not null references nodes,
  isolation text not null,
  created_at integer not null,
  last_used_at integer not null,
  last_exit integer,
  state text not null,
  primary key (account_id, user_id, name)
) strict;

create index sessions_node on sessions (account_id, node_id);

-- Unbound, and not yet known to have ended on the node.
create table session_ends (
  account_id text not null references accounts,
  node_id text not null references nodes,
  user_id text not null references users,
  name text not null,
  requested_at integer not null,
  primary key (account_id, node_id, user_id, name)
) strict;
