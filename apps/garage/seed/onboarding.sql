-- Each new workshop starts with four places to work and a price list of usual jobs. May run twice:
-- what a workshop has changed since stays changed.
insert into bays (id, name, kind, position) values
    (rowhouse.demo_id('bay', 1), 'Lift 1', 'lift', 1),
    (rowhouse.demo_id('bay', 2), 'Lift 2', 'lift', 2),
    (rowhouse.demo_id('bay', 3), 'Tyre bay', 'tyres', 3),
    (rowhouse.demo_id('bay', 4), 'Diagnostics', 'diagnostics', 4)
on conflict do nothing;

insert into services (id, code, name, category, hours, hourly_rate) values
    (rowhouse.demo_id('service', 1), 'SRV', 'Annual service', 'service', 1.50, 72.00),
    (rowhouse.demo_id('service', 2), 'BRK', 'Front brakes, discs and pads', 'repair', 1.80, 78.00),
    (rowhouse.demo_id('service', 3), 'TYR', 'Change four wheels and balance', 'tyres', 0.75, 60.00),
    (rowhouse.demo_id('service', 4), 'AIR', 'Air conditioning service', 'service', 1.00, 72.00),
    (rowhouse.demo_id('service', 5), 'DIA', 'Diagnosis', 'inspection', 1.00, 84.00),
    (rowhouse.demo_id('service', 6), 'BAT', 'Fit a battery', 'repair', 0.50, 72.00),
    (rowhouse.demo_id('service', 7), 'TIM', 'Timing belt and water pump', 'repair', 4.50, 78.00),
    (rowhouse.demo_id('service', 8), 'MOT', 'Prepare for the yearly inspection', 'inspection', 1.20, 72.00)
on conflict do nothing;
