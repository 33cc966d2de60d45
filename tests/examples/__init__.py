"""Examples of every operation, which are played by each way to call it."""
