"""Where journals live. Each store keeps the contract of `durably.engine.store`."""
