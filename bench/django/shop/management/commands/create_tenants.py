"""Makes tenants one after the other and prints the milliseconds of each as a JSON list."""

import json
import time

from django.core.management.base import BaseCommand

from registry.models import Domain, Tenant


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("count", type=int)

    def handle(self, count, **_):
        times = []
        for number in range(1, count + 1):
            started = time.perf_counter()
            tenant = Tenant(schema_name=f"shop_{number}", name=f"Shop {number}")
            # Django tells of every migration it applies; that is not what is measured.
            tenant.save(verbosity=0)
            Domain(domain=f"shop-{number}.example", tenant=tenant, is_primary=True).save()
            times.append((time.perf_counter() - started) * 1000)
        self.stdout.write(json.dumps(times))
