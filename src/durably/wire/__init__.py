"""The protocol as immutable values: what crosses the wire, and nothing else."""
