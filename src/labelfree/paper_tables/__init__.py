"""The paper's two tables as experiments: their rows, the runs they need, what the runs say, and how sure that is."""
