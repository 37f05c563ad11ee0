"""What users embed: a store, the service over it, a worker, and the functions."""
