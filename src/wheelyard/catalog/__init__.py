"""What the index knows, as documents in a store: projects, their journals, names, credentials."""
