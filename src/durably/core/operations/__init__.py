"""One generator for each operation: it looks at its record, does one thing, and looks again."""
