drop table incidents;
alter table deployments drop column release_notes;
