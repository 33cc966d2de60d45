"""Public packages from other indexes."""
