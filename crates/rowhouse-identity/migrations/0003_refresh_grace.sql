-- When the newest refresh tokens were rotated, the newest first: one that comes again within
-- moments is of a client whose answer was lost, not of a thief.
alter table control.sessions add column rotated_at timestamptz[] not null default '{}';
