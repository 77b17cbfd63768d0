"""Commands that need the lab: demo and lab."""
