"""Pure decisions of settlement: fees, intake, proofs, cycles, payouts, offsets, invoices."""
