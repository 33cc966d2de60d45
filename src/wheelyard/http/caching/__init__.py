"""What a server keeps in memory between requests."""
