"""
Operations of retention: what the rules of the store would delete, and the deletion.

Each raises NotFound if there is no rule, no index of the name that is asked for, or no rule about
it. Each raises Forbidden unless the caller is an administrator of the server, and Unavailable if
the store does not answer.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import asdict

from wheelyard.api.operation import Call, IndexName
from wheelyard.errors import NotFound
from wheelyard.model.index_name import read_index_name
from wheelyard.model.retention_report import RetentionReport

if TYPE_CHECKING:
    from wheelyard.retention.runs import Retention

RETENTION: Final = "use rules of retention"
"""What only administrators may do."""


class RetentionQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which rules of retention are applied, and what the response says."""

    index: IndexName | None = None
    """The index whose rules are applied. Without an index, all rules are applied."""
    kept: bool = False
    """Whether the response says also which releases are kept, and why."""


class RetentionAnswer(RetentionReport, frozen=True, kw_only=True):
    """The releases that rules delete, and if that was asked for, the releases that rules keep."""

    last_run: datetime | None
    """
    When all rules were applied last, by an administrator or a server, or None if they never were.
    """


def preview_retention(call: Call, body: RetentionQuery) -> RetentionAnswer:
    """Show what rules of retention would delete now. Nothing is deleted."""
    retention = _require_retention(call)
    index_name = _index_with_rules(call, retention, body.index)
    report = retention.preview(call.caller, index_name, with_kept=body.kept)
    return RetentionAnswer(**asdict(report), last_run=retention.last_run())


def run_retention(call: Call, body: RetentionQuery) -> RetentionAnswer:
    """
    Delete what rules of retention say.

    Raises Conflict (code `retention_running`) while another process does the same, and Forbidden
    (code `read_only`) on a read-only server. Raises Unavailable (code `clock_differs`), before
    anything is deleted, if the machine's clock is wrong. After any other Unavailable some projects
    may be done.
    """
    retention = _require_retention(call)
    index_name = _index_with_rules(call, retention, body.index)
    report = retention.run(call.caller, index_name, with_kept=body.kept)
    assert report is not None  # noqa: S101 - a run that is asked for is always due
    return RetentionAnswer(**asdict(report), last_run=retention.last_run())


def _require_retention(call: Call) -> "Retention":
    """Return the rules of retention of the store, or raise NotFound if there are none."""
    retention = call.index.server.retention
    if retention is None:
        raise NotFound(
            "There is no rule of retention. Add a [[retention]] table to a file that describes the "
            "index, and apply it."
        )
    return retention


def _index_with_rules(call: Call, retention: "Retention", index_name: str | None) -> str | None:
    """
    Return the name of an index that has rules, or None for None, which stands for all indexes.

    Raises NotFound if there is no such index, or no rule about it.
    """
    if index_name is None:
        return None
    parsed_name = call.index.named(read_index_name(index_name)).name
    if all(rule.index != parsed_name for rule in retention.rules):
        raise NotFound(f"No rule of retention is about the index {parsed_name}.")
    return parsed_name
