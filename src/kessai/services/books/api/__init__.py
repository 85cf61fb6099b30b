"""The books' door: messages, verbs and the errors of each in order of precedence, one module a desk."""

from kessai.services.books.api.accounting import BookedPayments, Journal, JournalLine, JournalsOfPayments, Side
from kessai.services.books.api.door import Books

__all__ = ["BookedPayments", "Books", "Journal", "JournalLine", "JournalsOfPayments", "Side"]
