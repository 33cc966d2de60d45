"""Request handlers, by subject. No handler imports another."""
