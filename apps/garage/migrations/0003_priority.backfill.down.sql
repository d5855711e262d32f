-- is_urgent still says which rows the backfill changed.
update work_orders set priority = 'normal' where is_urgent and priority = 'urgent';
