"""Variants of stage two (Eq. 6), each continued from the same stage one; see `__main__`."""
