-- What manufacturers sell. Written by migrations and operators, read by every tenant.
create table shared.panel_models (
    id           uuid primary key,
    manufacturer text not null,
    name         text not null,
    watts        integer not null check (watts between 50 and 1000),
    efficiency   numeric(4, 2) not null,
    unique (manufacturer, name)
);

insert into shared.panel_models (id, manufacturer, name, watts, efficiency) values
    ('5a000000-0000-8000-a000-000000000001', 'Helion', 'H-400', 400, 20.40),
    ('5a000000-0000-8000-a000-000000000002', 'Helion', 'H-430 Black', 430, 21.80),
    ('5a000000-0000-8000-a000-000000000003', 'Norrsol', 'Aurora 410', 410, 21.00),
    ('5a000000-0000-8000-a000-000000000004', 'Norrsol', 'Aurora 455', 455, 22.30),
    ('5a000000-0000-8000-a000-000000000005', 'Meridian', 'M60 Pro', 440, 22.00);
