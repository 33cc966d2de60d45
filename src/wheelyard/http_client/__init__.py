"""
The HTTP client for requests to other servers, protected against SSRF.

It connects only to allowed addresses, follows redirects itself, and has timeouts. It knows nothing
of indexes. The libraries for Cloud Storage and OpenTelemetry bring their own clients, which connect
only to Google's hosts and to those that the operator has configured.
"""
