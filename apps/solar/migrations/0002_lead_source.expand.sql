-- Where a lead was won: asked for by marketing since campaigns alone do not tell.
alter table leads add column source text check (source in ('website', 'referral', 'phone', 'fair'));
