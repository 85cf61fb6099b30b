"""The statutory desk at work: days, verbs, reports."""
