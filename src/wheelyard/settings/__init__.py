"""Settings: their sections and defaults, loading, validation at startup, and warnings."""
