"""The API key of the simulated exchange. It guards nothing: the exchange listens on loopback."""

KEY_ID, SECRET_KEY = "local-key", "local-secret"
