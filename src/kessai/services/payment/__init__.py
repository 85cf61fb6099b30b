"""Payment (決済処理): every movement of value between participants, as a payment with a state and a history.

Owns payments, their steps and refunds. Invariants: a payment moves money only through one ledger exchange and what
is done to it; a step is never edited; one action at a time works on a payment, and it claims the payment before it
touches the ledger; what is refunded never exceeds what is captured, nor that what was authorized; an outcome that is
not known is said to be UNKNOWN and resolved, never guessed.

Words: a *charge* (加盟店決済) is a customer's payment to a merchant; its *authorization* (仮売上) holds the sources; a
*capture* (確定) makes it final, whole or in parts; a *top-up* (入金) brings money in from a configured source; a
*transfer* (個人間送金) moves it between customers. A *kind* says who may take part, with which accounts, and how.
"""
