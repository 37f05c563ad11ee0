"""Orders are charged, approved, shipped and delivered, or undone, while the worker is killed."""
