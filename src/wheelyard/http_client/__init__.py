"""
Requests to other servers: the one client for whatever this program asks somewhere by HTTP.

It connects only to addresses that were checked, follows redirects itself, and keeps limits of time.
It knows nothing of indexes. Google's library for buckets and OpenTelemetry's for collectors bring
their own clients; both talk only to hosts that the operator has named, or that are Google's.
"""
