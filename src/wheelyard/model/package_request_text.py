"""The words of one message about all requests for public packages that wait."""

from collections.abc import Callable, Sequence
from typing import Final

from wheelyard.model.decoding import counted, escaped
from wheelyard.model.package_requests import PackageRequest

MOST_SHOWN: Final = 10
"""How many requests a message names."""
MOST_NAMED: Final = 3
"""How many people, and how many reasons, a message names for each request."""
REASON_CHARS: Final = 200
"""How many characters of a reason a message has."""


def describe_requests(
    news: Sequence[PackageRequest], waiting: int, url: str, describe: Callable[[str], str]
) -> str:
    """
    Return the message about new requests.

    `waiting` is the count of all requests that wait. `url` is the URL of the page of requests.
    `describe` returns a principal in words. The text has words of strangers in it, and is safe for
    a chat: nothing in it mentions people, or is a link that hides its URL.
    """
    packages = counted(len(news), "public package")
    verb = "wait"
    if len(news) == 1:
        verb = "waits"
    lines = [f"{packages} {verb} for a decision:"]
    lines += [_request_line(request, describe) for request in news[:MOST_SHOWN]]
    if len(news) > MOST_SHOWN:
        lines.append(f"- and {len(news) - MOST_SHOWN} more")
    if waiting > len(news):
        lines.append(f"{waiting - len(news)} of earlier messages wait, too.")
    lines.append(f"Approve or block them: {url}")
    return for_chat("\n".join(lines))


def for_chat(text: str) -> str:
    """Return a text for a chat, in which nothing mentions people, or is a link without its URL."""
    # Slack has mentions and links in angle brackets; other chats mention by @, and link by ](
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("@", "@\u200b").replace("](", "] (")


def _request_line(request: PackageRequest, describe: Callable[[str], str]) -> str:
    """Return the line about a request: the package, who wanted it, why, and what hides it."""
    people = "; ".join(map(describe, request.who[:MOST_NAMED]))
    if len(request.who) > MOST_NAMED:
        people = f"{people}; and others"
    last_asks = request.asks[-MOST_NAMED:]
    reasons = "; ".join(escaped(ask.reason[:REASON_CHARS]) for ask in last_asks)
    if reasons:
        reasons = f' "{reasons}"'
    # the first sentence says what hides the package
    hidden = request.reason.partition(". ")[0].rstrip(".")
    return f"- {request.target}, wanted by {people}.{reasons} {hidden}."
