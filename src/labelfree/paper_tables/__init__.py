"""The paper's two tables as experiments: rows, runs, results and their statistics."""
