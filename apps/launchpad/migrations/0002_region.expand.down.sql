alter table deployments drop column region;
