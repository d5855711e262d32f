-- Mails that wait to be sent, and what became of the others.
--
-- Reached by the system scope only: no grant to the service role. Rows that name a tenant carry
-- the tenants' policy all the same, so that a later grant cannot open them.

create table control.mails (
    id             uuid primary key,
    tenant_id      uuid,
    user_id        uuid,
    kind           text not null,
    recipient      text not null,
    status         text not null default 'waiting' check (status in ('waiting', 'sent', 'failed')),
    -- Subject, text and HTML, with tokens in their links: sealed with the master key for this row,
    -- and there only as long as the mail waits.
    sealed_content bytea,
    attempts       integer not null default 0,
    -- What went wrong at the last attempt.
    error          text,
    -- Who is sending it: only they may write what became of it.
    claim          uuid,
    -- Nobody takes it before this; while somebody is sending it, when they count as dead.
    due_at         timestamptz not null default now(),
    -- Given up after this.
    expires_at     timestamptz not null,
    created_at     timestamptz not null default now(),
    finished_at    timestamptz,
    check ((status = 'waiting') = (sealed_content is not null)),
    check ((status = 'waiting') = (finished_at is null))
);
create index on control.mails (expires_at) where status = 'waiting';
create index on control.mails (finished_at) where finished_at is not null;
create index on control.mails (tenant_id, id);
alter table control.mails enable row level security;
create policy rowhouse_tenant on control.mails
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
