-- Alerts of what lasts (a schema that has drifted) rather than of what happens: which state they
-- were raised for, and when a look found that state no more.
alter table control.alerts
    add column state    text,
    add column ended_at timestamptz;
