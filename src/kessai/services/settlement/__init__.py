"""Settlement (加盟店精算): from a merchant's proved sales to the money in its bank account.

Owns transaction data (取引データ), fees due, daily summaries, sales summaries, payouts (入金) and claims (請求). Money
moves only by payments, which it asks for and keeps a record of. Invariants: every transaction settles on one day at
most, and only once it was proved; a day that is closed stays as it is, what is late settles on the next open one and
names its own; what a payee was sold for = what was paid out + fees + what is carried + what is claimed − what was
collected.
"""
