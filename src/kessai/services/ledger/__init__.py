"""Ledger (台帳): customers' value in accounts of configured types, and every movement of it.

Owns accounts, lots, exchanges, their logs and the seal chain. Invariants: an exchange sums to zero per asset; a
balance is the sum of its logs and the balance of its last log; lots' remaining and held amounts add up to their
account; an account that may not overdraw never does; what is written is never edited, and each flush is sealed.

Words: an *exchange* (価値交換) has *legs* (sources and targets); a *lot* (Item) is one credit with its expiry and
acquisition rate; a *flush* is one transaction with everything that was decided together.
"""
