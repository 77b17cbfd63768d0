"""Procedural furnished rooms: the indoor world of the lab."""
