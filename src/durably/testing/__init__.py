"""What tests of durable functions, and of stores, are written with."""
