"""books (帳簿): what accountants, auditors and regulators ask for, from the same postings as the ledger (台帳).

Owns the accounting books (会計帳簿: journal, entries, periods, running totals), the statutory books (法定帳簿:
customers' ledger, daily sheets, what is kept apart) and what their reconciliation with the other services found.

Invariants: every journal's entries add up to zero per asset; entries are only ever added, corrections are reversing
entries; nothing is booked into a closed or locked period; an event is booked exactly once or stands unposted with its
reason; running totals are the sums of the entries; entries of a ledger account type add up to the ledger's total.
"""
