alter table work_orders drop column priority;
drop type work_order_priority;
