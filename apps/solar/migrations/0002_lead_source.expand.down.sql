alter table leads drop column source;
