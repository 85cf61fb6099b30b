"""iD payment (iD決済): virtual prepaid cards on customers' phones, and what is paid with them.

Owns the vault of card numbers, the pool of cards that the issuer made in advance, which customer has which card, the
phones it is on, and every step of these. Invariants: a card number (PAN, Device-PAN) is nowhere but sealed in
`pan_vault`; everything else knows its token and last four digits. A card of the pool is given to one customer, once; a
customer has one card that is not closed, at most. Whatever is asked outside is journalled first, and inquired when its
answer was lost. Steps are only ever added.
"""
