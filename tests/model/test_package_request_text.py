"""The text of a message about requests for public packages that wait for a decision."""

from datetime import UTC, datetime

from packaging.utils import NormalizedName

from wheelyard.model.access import describe_principal
from wheelyard.model.package_request_text import MOST_SHOWN, REASON_CHARS, describe_requests
from wheelyard.model.package_requests import Ask, PackageRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
URL = "https://packages.acme.dev/-/admin/requests/"


def request(
    name: str, *reasons: str, who: tuple[str, ...] = ("htpasswd:ana",), version: str = "2.0"
) -> PackageRequest:
    """Return a request for a package, for some reasons."""
    return PackageRequest(
        project=NormalizedName(name),
        version=version,
        code="cooldown",
        reason=f"{name} {version} appeared yesterday. Use an older version.",
        who=who,
        times=1,
        first=NOW,
        last=NOW,
        asks=tuple(Ask(f"htpasswd:{number}", NOW, text) for number, text in enumerate(reasons)),
    )


def lines_of(*news: PackageRequest, waiting: int = 0) -> list[str]:
    """Return the lines of a message."""
    count = max(waiting, len(news))
    return describe_requests(news, count, URL, describe_principal).splitlines()


def test_what_waits_is_said_with_who_wants_it_and_why() -> None:
    """A message names each package, who wants it, why, what hides it, and where to decide."""
    assert lines_of(request("numpy", "for TICKET-1"), request("pandas")) == [
        "2 public packages wait for a decision:",
        '- numpy 2.0, wanted by ana, by password. "for TICKET-1" numpy 2.0 appeared yesterday.',
        "- pandas 2.0, wanted by ana, by password. pandas 2.0 appeared yesterday.",
        f"Approve or block them: {URL}",
    ]


def test_what_earlier_messages_told_is_counted() -> None:
    """A message about one new package says how many of earlier messages still wait."""
    first, *_, waits, _ = lines_of(request("scipy"), waiting=3)
    assert first == "1 public package waits for a decision:"
    assert waits == "2 of earlier messages wait, too."


def test_nobody_is_mentioned_and_nothing_is_hidden() -> None:
    """A reason pings nobody in a chat, and is no link to elsewhere."""
    _, line, _ = lines_of(request("numpy", "<!channel> @all [here](https://evil.example) &"))
    assert "&lt;!channel&gt; @\u200ball [here] (https://evil.example) &amp;" in line


def test_a_message_names_ten() -> None:
    """A message names ten of the packages that wait, and says how many more there are."""
    lines = lines_of(*(request(f"n{number:02}") for number in range(MOST_SHOWN + 2)))
    assert lines[0] == "12 public packages wait for a decision:"
    assert sum(line.startswith("- n") for line in lines) == MOST_SHOWN
    assert "- and 2 more" in lines


def test_people_and_reasons_of_a_package_are_few() -> None:
    """Of many who want a package the message names three, and of their reasons the last three."""
    who = tuple(f"htpasswd:{name}" for name in ("ana", "bo", "cy", "di"))
    reasons = ("old", "second", "third", "x" * 2 * REASON_CHARS)
    _, line, _ = lines_of(request("numpy", *reasons, who=who))
    assert "cy, by password; and others." in line
    assert "di, by password" not in line
    assert f' "second; third; {"x" * REASON_CHARS}" ' in line
