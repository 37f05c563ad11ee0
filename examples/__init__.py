"""Small programs that run, each of which shows one thing."""
