"""Identity (認証・権限): API keys and what each may do.

Invariants: a secret is shown once, when its key is made, and is kept only as SHA-256 of its 256 random bits; a revoked
key never works again, and stops working in every process within seconds; the first key is made once a database.
"""
