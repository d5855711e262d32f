-- Urgent or not was too little: waiting customers, breakdowns and fleets queue in four steps. The
-- release before writes is_urgent only; its new rows get the default, which is right for most.
create type work_order_priority as enum ('low', 'normal', 'high', 'urgent');
alter table work_orders add column priority work_order_priority not null default 'normal';
