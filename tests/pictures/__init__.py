"""Pictures of other servers, fetched by the index."""
