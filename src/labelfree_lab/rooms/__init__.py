"""World `rooms`: procedural furnished rooms."""
