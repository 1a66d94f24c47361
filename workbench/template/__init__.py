"""What template.yaml declares; nothing else reads it."""
