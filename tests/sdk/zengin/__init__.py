"""The Zengin format: our reader and writer, a second reader of its own, golden files."""
