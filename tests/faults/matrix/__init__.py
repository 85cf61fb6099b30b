"""The fault matrix: every kind of payment × every call outside × every fault × a crash at every journal boundary."""
