"""Development kits that services (and other teams) build on: durable workflows."""
