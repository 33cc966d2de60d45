"""What a person can do with an index, without a server."""
