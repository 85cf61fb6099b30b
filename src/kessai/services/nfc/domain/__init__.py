"""Pure decisions: cards, phone numbers, devices, the issuer's files, and the terms that they go by."""
