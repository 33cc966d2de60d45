"""
What the log says of every change: who did what.

The journal is what counts. A line is written right after the commit point; where the process dies
in between, there is none.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.model.project import AnyEvent, StatusSet, Uploaded
from wheelyard.model.text import escaped, redact_tokens

EXTRA_FIELDS: Final = "facts"
"""The attribute of a log record with the facts of an event."""
AUDIT_FIELD: Final = "audit"
"""Of these, who has changed what."""

logger = logging.getLogger("wheelyard.audit")


def log_event(project: NormalizedName, event: AnyEvent) -> None:
    """
    Say what has been committed.

    The action is `uploaded`, `imported` (a file that was dated elsewhere), `yanked`, `unyanked`,
    `deleted` or `status_set`.
    """
    match event:
        case StatusSet():
            facts = {"status": event.status, "reason": redact_tokens(event.reason)}
            _write("status_set", event.by, project, facts, {"project": project})
        case Uploaded(file=file):
            action = "uploaded" if file.imported_at is None else "imported"
            publisher = "" if file.uploaded_by == event.by else file.uploaded_by
            facts = {"version": file.version, "sha256": file.sha256, "uploaded_by": publisher}
            _note_files(action, event.by, project, (file.filename,), facts)
        case _:
            action, facts = type(event).__name__.lower(), {"reason": redact_tokens(event.reason)}
            _note_files(action, event.by, project, event.filenames, facts)


def log_token(action: str, who: str, token_id: str, facts: Mapping[str, str]) -> None:
    """Say what has happened to a token: `token_created`, `token_revoked`, `token_minted`."""
    _write(action, who, token_id, facts, {"token": token_id})


def _note_files(
    action: str,
    who: str,
    project: NormalizedName,
    files: Sequence[str],
    facts: Mapping[str, str],
) -> None:
    about = {"project": project, "files": list(files)}
    _write(action, who, f"{project}: {', '.join(files)}", facts, about)


def _write(
    action: str, who: str, what: str, facts: Mapping[str, str], about: Mapping[str, object]
) -> None:
    said = {name: value for name, value in facts.items() if value}
    more = "".join(f", {name} {escaped(value)}" for name, value in said.items())
    logger.info(
        "%s by %s: %s%s",
        action.replace("_", " "),
        escaped(who),
        what,
        more,
        extra={EXTRA_FIELDS: {AUDIT_FIELD: {**said, **about, "action": action, "who": who}}},
    )
