"""Documents to bytes, for live and for exported pages; pure functions."""
