-- The vehicles that are on the road, with the maker's service intervals. The same for every
-- workshop, so it is kept once: written by migrations and operators, read by every tenant.
create table shared.vehicle_models (
    id             uuid primary key,
    make           text not null,
    name           text not null,
    fuel           text not null check (fuel in ('petrol', 'diesel', 'hybrid', 'electric', 'gas')),
    first_year     integer not null check (first_year between 1900 and 2100),
    service_miles  integer not null check (service_miles > 0),
    service_months integer not null check (service_months > 0),
    unique (make, name, first_year)
);

insert into shared.vehicle_models (id, make, name, fuel, first_year, service_miles, service_months) values
    ('ca500000-0000-8000-a000-000000000001', 'Audi', 'A3', 'petrol', 2003, 9000, 12),
    ('ca500000-0000-8000-a000-000000000002', 'Audi', 'A4 Avant', 'diesel', 2004, 9000, 12),
    ('ca500000-0000-8000-a000-000000000003', 'BMW', '320d', 'diesel', 2005, 15000, 24),
    ('ca500000-0000-8000-a000-000000000004', 'Citroën', 'Berlingo', 'diesel', 2008, 12000, 12),
    ('ca500000-0000-8000-a000-000000000005', 'Dacia', 'Duster', 'gas', 2010, 12000, 12),
    ('ca500000-0000-8000-a000-000000000006', 'Fiat', '500', 'petrol', 2007, 9000, 12),
    ('ca500000-0000-8000-a000-000000000007', 'Ford', 'Fiesta', 'petrol', 2008, 12500, 12),
    ('ca500000-0000-8000-a000-000000000008', 'Ford', 'Focus', 'petrol', 2011, 12500, 12),
    ('ca500000-0000-8000-a000-000000000009', 'Ford', 'Transit', 'diesel', 2014, 20000, 12),
    ('ca500000-0000-8000-a000-000000000010', 'Honda', 'Jazz', 'hybrid', 2011, 12500, 12),
    ('ca500000-0000-8000-a000-000000000011', 'Hyundai', 'Kona Electric', 'electric', 2018, 18000, 24),
    ('ca500000-0000-8000-a000-000000000012', 'Kia', 'Sportage', 'diesel', 2010, 10000, 12),
    ('ca500000-0000-8000-a000-000000000013', 'Mazda', 'MX-5', 'petrol', 2005, 12500, 12),
    ('ca500000-0000-8000-a000-000000000014', 'Mercedes-Benz', 'Sprinter', 'diesel', 2006, 25000, 24),
    ('ca500000-0000-8000-a000-000000000015', 'Nissan', 'Leaf', 'electric', 2010, 18000, 12),
    ('ca500000-0000-8000-a000-000000000016', 'Nissan', 'Qashqai', 'petrol', 2007, 12500, 12),
    ('ca500000-0000-8000-a000-000000000017', 'Peugeot', '208', 'petrol', 2012, 12500, 12),
    ('ca500000-0000-8000-a000-000000000018', 'Renault', 'Clio', 'petrol', 2012, 18000, 24),
    ('ca500000-0000-8000-a000-000000000019', 'Škoda', 'Octavia', 'diesel', 2013, 10000, 12),
    ('ca500000-0000-8000-a000-000000000020', 'Toyota', 'Corolla', 'hybrid', 2019, 10000, 12),
    ('ca500000-0000-8000-a000-000000000021', 'Toyota', 'Yaris', 'hybrid', 2012, 10000, 12),
    ('ca500000-0000-8000-a000-000000000022', 'Vauxhall', 'Corsa', 'petrol', 2006, 20000, 12),
    ('ca500000-0000-8000-a000-000000000023', 'Volkswagen', 'Golf', 'petrol', 2012, 10000, 12),
    ('ca500000-0000-8000-a000-000000000024', 'Volvo', 'V60', 'diesel', 2010, 18000, 12);
