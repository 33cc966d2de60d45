"""Public packages from other indexes, beside the private ones and never in their place."""
