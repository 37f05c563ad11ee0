"""The SDK half: what each operation does next, given its record. It does no I/O."""
