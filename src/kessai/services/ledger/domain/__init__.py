"""Pure decisions of the ledger: no await, no I/O, no clock. State and commands in, rows and answers out."""
