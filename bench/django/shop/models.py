"""The same eight tables as in bench/app, without the tenant's column: each schema has its own."""

import uuid

from django.db import models


class Record(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class Customer(Record):
    name = models.TextField()
    email = models.TextField(default="")
    city = models.TextField(default="")

    class Meta:
        indexes = [models.Index(fields=["email"])]


class Product(Record):
    sku = models.TextField()
    name = models.TextField()
    price = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    stock = models.IntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sku"], name="product_sku")]


class Order(Record):
    number = models.IntegerField()
    title = models.TextField()
    status = models.TextField(default="new")
    priority = models.IntegerField(default=0)
    amount = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    attributes = models.JSONField(default=dict)
    notes = models.TextField(default="")
    customer = models.ForeignKey(Customer, null=True, on_delete=models.SET_NULL)
    scheduled_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["status"]),
            models.Index(fields=["scheduled_at"]),
            models.Index(fields=["amount"]),
        ]


class OrderLine(Record):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.IntegerField(default=1)
    price = models.DecimalField(max_digits=12, decimal_places=2, default=0)


class Payment(Record):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    status = models.TextField(default="pending")
    amount = models.DecimalField(max_digits=12, decimal_places=2, default=0)

    class Meta:
        indexes = [models.Index(fields=["status"])]


class Shipment(Record):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    status = models.TextField(default="open")
    scheduled_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["status"]), models.Index(fields=["scheduled_at"])]


class Ticket(Record):
    customer = models.ForeignKey(Customer, null=True, on_delete=models.SET_NULL)
    subject = models.TextField()
    status = models.TextField(default="open")

    class Meta:
        indexes = [models.Index(fields=["status"])]


class Note(Record):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    text = models.TextField()
