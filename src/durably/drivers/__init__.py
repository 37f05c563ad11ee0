"""What carries out the effects that programs ask for: in tasks, and in threads."""
