-- Where environments can run. The same for every team; operators add regions, tenants read them.
create table shared.regions (
    id        uuid primary key,
    code      text not null unique,
    name      text not null,
    continent text not null check (continent in ('africa', 'america', 'asia', 'europe', 'oceania')),
    is_open   boolean not null default true
);

insert into shared.regions (id, code, name, continent, is_open) values
    ('1a000000-0000-8000-a000-000000000001', 'eu-central', 'Frankfurt', 'europe', true),
    ('1a000000-0000-8000-a000-000000000002', 'eu-north', 'Stockholm', 'europe', true),
    ('1a000000-0000-8000-a000-000000000003', 'us-east', 'Virginia', 'america', true),
    ('1a000000-0000-8000-a000-000000000004', 'us-west', 'Oregon', 'america', true),
    ('1a000000-0000-8000-a000-000000000005', 'sa-east', 'São Paulo', 'america', true),
    ('1a000000-0000-8000-a000-000000000006', 'ap-south', 'Mumbai', 'asia', true),
    ('1a000000-0000-8000-a000-000000000007', 'ap-southeast', 'Singapore', 'asia', true),
    ('1a000000-0000-8000-a000-000000000008', 'af-south', 'Cape Town', 'africa', false);
