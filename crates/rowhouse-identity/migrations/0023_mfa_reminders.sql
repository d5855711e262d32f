-- When a member was last reminded that a second factor will be demanded of them.
alter table control.memberships add column mfa_reminded_at timestamptz;
