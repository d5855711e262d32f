-- Where a lead was won: asked for by marketing, since campaigns alone do not tell. Nullable,
-- because the release before does not write it.
alter table leads add column source text check (source in ('website', 'referral', 'phone', 'fair'));
