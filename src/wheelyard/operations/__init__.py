"""What a person can do with an index. Plain blocking Python, tested without a server."""
