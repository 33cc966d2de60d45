"""The client for other servers."""
