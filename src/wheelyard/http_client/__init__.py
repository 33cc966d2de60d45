"""
HTTP client for requests to other servers, protected against SSRF.

The HTTP client is built on httpcore2, the lower half of httpx2. A connection must go to the
address that was checked. Otherwise the owner of a name could return another address to a second
look-up. httpcore2 lets us make the connection. httpx2 does not, writes URLs to the log, and takes
proxies from the environment, behind which the address is unknown. Google's library and
OpenTelemetry's keep their own clients: their hosts are Google's, or the operator's choice.
"""
