-- Which operator did it in the place of the person whom the line names.
alter table control.audit_log add column operator_id uuid;
grant select (operator_id) on control.audit_log to {service};
