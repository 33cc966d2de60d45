"""The words of one message about all requests that wait."""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from wheelyard.api.package_request_operations import WaitingRequest
from wheelyard.model.decoding import counted, escaped

MOST_SHOWN: Final = 10
"""Requests that a message names."""
REASON_CHARS: Final = 200
"""Characters of a reason in a message."""


class Digest(Struct, frozen=True):
    """A message. Its text has no markup, and words of strangers in it."""

    subject: str
    """One line."""
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The text of mail."""
        return "\n".join(self.lines) + "\n"

    @property
    def for_chat(self) -> str:
        """The text for a chat, where nothing mentions people, or is a link that hides its URL."""
        text = "\n".join(self.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return text.replace("@", "@\u200b").replace("](", "] (")


def digest_of(
    news: Sequence[WaitingRequest], waiting: int, url: str, describe: Callable[[str], str]
) -> Digest:
    """
    Return the message about new requests, of `waiting` in all.

    `url` is that of the page of requests. `describe` returns a principal in words.
    """
    packages = counted(len(news), "public package")
    subject = f"{packages} {'waits' if len(news) == 1 else 'wait'} for a decision"
    targets = ", ".join(request.target for request in news[:3])
    more = ", ..." if len(news) > len(news[:3]) else ""
    lines = [f"{subject}:"]
    lines += [_line(request, describe) for request in news[:MOST_SHOWN]]
    if len(news) > MOST_SHOWN:
        lines.append(f"- and {len(news) - MOST_SHOWN} more")
    if waiting > len(news):
        lines.append(f"{waiting - len(news)} of earlier messages wait, too.")
    lines.append(f"Approve or block them: {url}")
    return Digest(f"{subject}: {targets}{more}", tuple(lines))


def _line(request: WaitingRequest, describe: Callable[[str], str]) -> str:
    people = "; ".join(describe(who) for who in request.who[:3])
    more = "; and others" if len(request.who) > len(request.who[:3]) else ""
    reasons = "; ".join(escaped(ask.reason[:REASON_CHARS]) for ask in request.asks[-3:])
    why = f' "{reasons}"' if reasons else ""
    # the first sentence says what hides it
    hidden = request.reason.partition(". ")[0].rstrip(".")
    return f"- {request.target}, wanted by {people}{more}.{why} {hidden}."
