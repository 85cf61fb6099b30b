"""Card gateway (外部接続): customers' external credit cards, and what is held on, taken from and given back to them.

Owns cards (as the gateway's tokens, never a PAN), authorizations and the operations on them. Invariants: an instruction
is journalled before the gateway hears of it; each has one id, under which the gateway does it once however often it is
sent; one operation at a time works on an authorization; what is captured never exceeds what was authorized, nor what
is refunded what was captured; an outcome that is not known is inquired until it is, never guessed; an authorization
that nobody wants any more is voided.

Words: an *authorization* (オーソリ) holds an amount on a card; an *abort* (打ち切り) is the journalled wish that
whatever comes of an instruction be undone; the *repairer* (修復) is whoever carries what is in doubt to a known end.
"""
