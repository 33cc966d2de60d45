"""The commit protocol, explored step by step, with everything that can fail."""
