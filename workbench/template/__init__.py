"""What `template.yaml` declares. No other room reads it."""
