"""The effects around the core: storage, broker, market data, webhook, logs."""
