"""Composition root and programs: wiring, the command line, benches and the demo."""
