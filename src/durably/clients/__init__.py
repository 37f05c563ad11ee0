"""The ways to a backend: in this process, in memory, on AWS."""
