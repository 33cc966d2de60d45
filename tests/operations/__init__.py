"""Operations on an index without a server."""
