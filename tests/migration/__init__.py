"""Moving over from other indexes, as the pages of `docs/migration/` tell people to."""
