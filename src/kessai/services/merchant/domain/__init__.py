"""Pure decisions about merchants: what holds when, what a contract may say, who may collect for whom."""
