"""Archives, honest and hostile."""
