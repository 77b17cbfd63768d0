"""The command line: one file per verb, each with `add_arguments` and `run`."""
