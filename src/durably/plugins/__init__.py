"""What can be plugged in: payloads kept elsewhere, and traces."""
