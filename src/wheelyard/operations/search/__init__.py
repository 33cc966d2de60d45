"""The search index: facts of all projects, made from their documents and core metadata."""
