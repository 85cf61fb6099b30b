"""ISO 8583 messages, read and written."""
