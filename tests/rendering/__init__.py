"""Documents to bytes, without a server."""
