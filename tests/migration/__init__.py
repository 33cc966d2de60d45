"""Migration from other indexes, by the commands of `docs/migration/`."""
