"""How names of the index stand in the names of environment variables."""

import re


def variable_part(name: str) -> str:
    """Return how a name stands in the names of variables: `my-index` is `MY_INDEX`."""
    return re.sub("[^A-Z0-9]", "_", name.upper())
