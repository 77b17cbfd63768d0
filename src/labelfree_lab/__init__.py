"""The lab: two procedural worlds with exact labels, rooms and streets, and small teachers trained on them."""
