"""HTTP itself: requests, responses, routing and negotiation. Nothing here knows of an index."""
