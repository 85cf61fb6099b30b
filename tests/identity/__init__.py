"""The identity service: API keys."""
