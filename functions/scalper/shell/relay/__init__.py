"""From the broker's websocket to the webhook, one run at a time."""
