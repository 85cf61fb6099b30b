"""Identity (認証・権限): API keys and what each may do; approvals (承認) by a second person.

Invariants: a secret is shown once, when its key is made, and is kept only as SHA-256 of its 256 random bits; a revoked
key never works again, and stops working in every process within seconds; the first key is made once a database; the
last key that may administer keys is never revoked, however many try at once. An approval binds one content, is given by
another person's key than the requester's (nor one that the requester made), and is used for one act.
"""
