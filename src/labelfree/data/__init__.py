"""Read datasets and captures into `Scene`s, and check them before work begins."""
