"""What every storey stands on: money, ids, time, errors, contracts, the database, group commit and events."""
