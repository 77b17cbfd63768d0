"""The offline lab: a procedural indoor world with exact labels, and small teachers trained on it."""
