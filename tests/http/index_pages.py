"""What an installer reads on the pages of an index."""

from typing import Final

from msgspec.json import decode

from tests.http.in_process import InProcessServer

JSON: Final = ("Accept", "application/vnd.pypi.simple.v1+json")


def versions(server: InProcessServer, path: str) -> list[str] | int:
    """Return the versions on a page, or the status of an error."""
    answer = server.get(path, JSON)
    if answer.status != 200:
        return answer.status
    return [str(version) for version in decode(answer.body)["versions"]]
