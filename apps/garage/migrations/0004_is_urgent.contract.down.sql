alter table work_orders add column is_urgent boolean not null default false;
update work_orders set is_urgent = true where priority = 'urgent';
