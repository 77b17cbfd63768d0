"""Reading captures into `Scene`s, and checking them before any work begins."""
