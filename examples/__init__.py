"""Small programs that run, each in both flavours: `async def`, and `def` in `*_sync.py`."""
