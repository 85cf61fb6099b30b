"""The books' door: messages, verbs and the errors of each in order of precedence, one module a desk."""

from kessai.services.books.api.accounting import Journal, JournalLine, ListJournals, Side
from kessai.services.books.api.door import Books

__all__ = ["Books", "Journal", "JournalLine", "ListJournals", "Side"]
