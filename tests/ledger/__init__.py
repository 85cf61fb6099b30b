"""The ledger seen from its door: each test is a little ledger of its own."""
