"""The service half: what a command makes of an execution, and what is due."""
