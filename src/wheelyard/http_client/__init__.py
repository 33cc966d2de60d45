"""HTTP client for requests to other servers, protected against SSRF."""
