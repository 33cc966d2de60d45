"""
The headers that pip and uv really send, for all benchmarks.

They were recorded from pip 26.3 and uv 0.13 on Debian 12; a credential comes on top.
"""

_PIP = (
    'pip/26.3 {"ci":null,"cpu":"x86_64","distro":{"id":"bookworm","libc":{"lib":"glibc",'
    '"version":"2.36"},"name":"Debian GNU/Linux","version":"12"},"implementation":{"name":'
    '"CPython","version":"3.11.7"},"installer":{"name":"pip","version":"26.3"},'
    '"openssl_version":"OpenSSL 3.0.19 27 Jan 2026","python":"3.11.7","system":{"name":"Linux",'
    '"release":"6.1.0-40-amd64"}}'
)
_UV = (
    'uv/0.13.8 {"installer":{"name":"uv","version":"0.13.8","subcommand":["pip","install"]},'
    '"python":"3.11.7","implementation":{"name":"CPython","version":"3.11.7"},"distro":{"name":'
    '"Debian GNU/Linux","version":"12","id":"bookworm","libc":{"lib":"glibc","version":"2.36"}},'
    '"system":{"name":"Linux","release":"6.1.0-40-amd64"},"cpu":"x86_64","openssl_version":null,'
    '"setuptools_version":null,"rustc_version":null,"ci":null}'
)

PIP = {
    "User-Agent": _PIP,
    "Accept-Encoding": "gzip, deflate",
    "Accept": "application/vnd.pypi.simple.v1+json, "
    "application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
    "Cache-Control": "max-age=0",
    "Connection": "keep-alive",
}
"""pip asks for a page. The Cache-Control is what it sends when it asks again."""
PIP_FILE = {
    "User-Agent": _PIP,
    "Accept-Encoding": "identity",
    "Accept": "*/*",
    "Connection": "keep-alive",
}
"""pip asks for a file or its core metadata."""
UV = {
    "Accept-Encoding": "gzip, deflate, zstd",
    "Accept": "application/vnd.pypi.simple.v1+json, "
    "application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
    "User-Agent": _UV,
}
"""uv asks for a page."""
UV_METADATA = {"Accept": "*/*", "Accept-Encoding": "zstd,gzip,deflate", "User-Agent": _UV}
"""uv asks for core metadata."""
BROWSER = {"Accept": "text/html", "Accept-Encoding": "identity"}
"""An installer that knows neither JSON nor compression."""
CHROMIUM = {
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/156.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Dest": "document",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Connection": "keep-alive",
}
"""Debian's Chromium asks for a page that a person wants to see."""
UNREMEMBERED = {"X-Long": "x" * 1100}
"""A header that is too long for the fast path of wheelyard, and has no other effect."""


def uncompressed(headers: dict[str, str]) -> dict[str, str]:
    """Return headers that differ only in that they ask for a response without compression."""
    return headers | {"Accept-Encoding": "identity"}
