"""The form in which names stand in the names of environment variables."""

import re


def variable_part(name: str) -> str:
    """Return a name in the form that variables have: `MY_INDEX` for `my-index`."""
    return re.sub("[^A-Z0-9]", "_", name.upper())
