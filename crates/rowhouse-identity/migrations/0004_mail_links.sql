-- Links in mails: each is good once, and tells that whoever follows it gets the mails of the address.
--
-- Lines of addresses without an account are kept like all others, with no user: what is done for a
-- stranger must be what is done for a member. Reached by the system scope only.

create table control.mail_links (
    token_hash bytea primary key,
    purpose    text not null check (purpose in ('reset_password', 'verify_email', 'change_email', 'sign_in')),
    -- Where the mail went.
    email      text not null,
    user_id    uuid references control.users (id) on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index on control.mail_links (email, purpose);
create index on control.mail_links (user_id);
create index on control.mail_links (expires_at);
