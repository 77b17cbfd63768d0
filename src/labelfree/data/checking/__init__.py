"""Check a capture before work begins."""
