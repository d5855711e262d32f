-- When this session's person has last shown who they are: signed in, or given a password or code again.
alter table control.sessions add column proved_at timestamptz not null default now();
