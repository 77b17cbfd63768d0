"""The viewer: what it shows and how it is used as pure functions, and one shell that talks to viser."""
