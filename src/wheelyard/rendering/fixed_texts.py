"""Small texts that a server answers with, and that a static site has, too."""

from typing import Final

HEALTHY: Final = b"Ok"
"""The answer of `/health`."""
ROBOTS: Final = b"User-agent: *\nDisallow: /\n"
"""`/robots.txt`: search engines are to leave out every page."""
