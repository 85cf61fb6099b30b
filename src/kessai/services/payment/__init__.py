"""Payment (決済処理): every movement of value between participants, as a payment with a state and a history.

Owns payments, their steps and refunds, and what customers have moved against their limits. Invariants: a payment's
value is carried by one ledger exchange with all its legs, and by what is done to it (an escrow's seller is paid by
further ones, told in the steps); a step is never edited; one action at a time works on a payment, and it claims the
payment before it touches the ledger or anybody outside; what is refunded never exceeds what is captured, nor that what
was authorized; an outcome that is not known is said to be UNKNOWN and resolved, never guessed; when somebody refuses
for good, what was done is undone in the reverse order.

Words: a *charge* (加盟店決済) is a customer's payment to a merchant; its *authorization* (仮売上) holds the sources;
a *capture* (確定) makes it final, whole or in parts; an *escrow* (エスクロ決済) parks a buyer's money with a
marketplace until it is captured for the seller; a *top-up* (入金) brings money in; a *withdrawal* (出金) and a *payout*
(加盟店振込) send it to a bank account; a *transfer* (個人間送金) moves it between customers; *credit* (与信) makes a
*receivable* (債権) that a *repayment* (返済) reduces. A *kind* says who may take part, with which accounts, and how.
A *source* gives value to a payment; what it gave is its *funding*. *Outside* is whoever brings value in or takes it
out: a card, a bank, a till.
"""
