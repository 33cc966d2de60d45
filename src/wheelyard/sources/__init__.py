"""Import sources: each kind of source yields the candidates of an import."""
