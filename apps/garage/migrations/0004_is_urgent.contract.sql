-- Nothing writes is_urgent any more. What the release before wrote after the backfill is brought
-- over first.
update work_orders set priority = 'urgent' where is_urgent and priority = 'normal';
alter table work_orders drop column is_urgent;
