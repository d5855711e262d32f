-- What was marked urgent stays urgent. Touches those rows only.
update work_orders set priority = 'urgent' where is_urgent and priority = 'normal';
