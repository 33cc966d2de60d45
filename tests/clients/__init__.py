"""Real clients against a running server: what people will do, done."""
