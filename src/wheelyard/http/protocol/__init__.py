"""HTTP without any package index: requests, responses, routing, negotiation, compression."""
