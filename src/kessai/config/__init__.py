"""The platform as data: account types, payment kinds and settings in TOML."""
