-- An invitation keeps its id when it is sent again; of its links only the newest is good.
alter table control.invitations add column link_number integer not null default 1 check (link_number > 0);

-- An address has one invitation that can be accepted. Of those made at the same moment the newest stays.
delete from control.invitations older using control.invitations newer
where older.tenant_id = newer.tenant_id and older.email = newer.email and older.id < newer.id
  and older.accepted_at is null and newer.accepted_at is null;
create unique index on control.invitations (tenant_id, email) where accepted_at is null;
