-- Deployments may run in several regions since the service has them.
alter table deployments add column region text not null default 'eu-central';
