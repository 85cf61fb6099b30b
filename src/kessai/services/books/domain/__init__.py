"""Pure rules of the books: no await, no I/O, no clock."""
