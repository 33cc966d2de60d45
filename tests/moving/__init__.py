"""Moving over from other indexes, as the pages of `docs/moving/` tell people to."""
