"""HTTP protocol: requests, responses, routing and negotiation, without any package index."""
