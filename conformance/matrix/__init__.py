"""The matrix: which TRL releases there are, what each is run with, and how their results come together."""
