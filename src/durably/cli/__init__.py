"""The command `durably`: parse, one call, print."""
