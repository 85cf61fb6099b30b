"""Statutory books: what is written of each posting, and the figures of the law made from it. Pure."""
