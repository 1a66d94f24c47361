"""Posts the broker's order events to the webhook; one run at a time is connected."""
