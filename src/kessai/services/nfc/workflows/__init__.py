"""The nfc service's dated jobs as workflows: cards, clearing files, reconciling, repairs."""
