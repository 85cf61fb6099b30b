"""Outside parties as real servers: they keep books of their own, and misbehave when they are told to.

Each is a party that kessai would meet over a network. They ship in the package, so that the platform is whole on a
laptop; nothing in `services` knows of them. `faults` says how they misbehave, `listening` how they listen.
"""
