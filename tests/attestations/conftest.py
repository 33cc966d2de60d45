"""What all tests of attestations need."""

# it binds a socket when it is imported, which the first test would be blamed for
import urllib3.util.connection  # noqa: F401
