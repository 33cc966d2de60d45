"""Import sources: one module for each kind of source; each yields candidates for an import."""
