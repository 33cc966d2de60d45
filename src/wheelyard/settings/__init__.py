"""Settings: their sections and defaults, loading, validation, and warnings."""
