"""Outside parties as they are played: the simulated bank's files."""
