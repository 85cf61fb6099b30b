"""Bank (銀行接続): customers' and merchants' bank accounts, transfers out (振込) and debits (口座振替).

Owns registered bank accounts, instructions to the bank and their history. Invariants: an instruction is journalled
before the bank hears of it and carries its id there, so that it takes effect once however often it is sent; a lost
reply is inquired, never guessed; every change of state is a step that is never edited, and is published; account
numbers and holders' names lie in encrypted columns alone, and leave them only on their way to the bank.

An instruction of a day waits for the *file* (総合振込, 口座振替) of that day: it is in one file at a time; a file is
sent only when different persons' keys have approved its very bytes, and once; what the bank tells is matched by file,
line and customer codes, never guessed. Our own account's statement is imported by the day, and is what our rows say.

Words: a *transfer* (振込) pushes money out to an account, and may come back later (*returned*, 資金返却); a *debit*
(口座振替) pulls money in under the holder's *mandate* (口座振替契約). Both are *instructions* (指図).
"""
