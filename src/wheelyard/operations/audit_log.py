"""
The audit log: a line for each change of a project, token, right or decision, and each sign-in.

The journal is authoritative. A line is written right after the change, so it is missing if the
process ends in between.
"""

import logging
from collections.abc import Mapping
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.model.decoding import escaped, redact_tokens
from wheelyard.model.project import Event, EventKind, Project
from wheelyard.model.public_packages import Decision

EXTRA_FIELDS: Final = "facts"
"""The attribute of a log record that has the fields of an event."""
AUDIT_FIELD: Final = "audit"
"""The field with a change: its action, principal and target."""

logger = logging.getLogger("wheelyard.audit")


def log_event(project: Project, event: Event) -> None:
    """
    Log an event of a project.

    That is `uploaded`, `imported`, `promoted`, `attested`, `yanked`, `unyanked`, `deleted`,
    `deleted_at_once`, `restored`, `status_set`, `name_reserved`, `name_released`, `promoted_to`,
    `pinned` or `unpinned`. What looks like a token in a reason is left out.
    """
    action = event.what

    # somebody may have pasted a token into the reason, and logs leave the server
    fields = {"reason": redact_tokens(event.reason)}
    match event.what:
        case EventKind.STATUS:
            action = "status_set"
            fields = {"status": event.status, **fields}
        case EventKind.DELETED if event.deletion.at_once:
            action = "deleted_at_once"
        case EventKind.RESERVED | EventKind.RELEASED:
            action = f"name_{event.what}"
        case EventKind.UPLOADED:
            file = event.file
            uploaded_by = file.uploaded_by
            if uploaded_by == event.by:  # the line has this principal already
                uploaded_by = ""
            fields = {"version": file.version, "sha256": file.sha256, "uploaded_by": uploaded_by}
            if file.promoted_at is not None:
                action = "promoted"
                fields = {**fields, "index": file.source_index}
            elif file.imported_at is not None:
                action = "imported"
        case EventKind.PROMOTED_TO:
            action = event.what.replace("-", "_")
            fields = {"index": event.promotion.target}
    target = str(project.name)
    json_fields = dict[str, object](project=project.name)
    if event.files:
        target = f"{project.name}: {', '.join(event.files)}"
        json_fields["files"] = list(event.files)
    _log(action, event.by, target, fields, json_fields)


def log_name(action: str, principal: str, name: NormalizedName, *, is_shadow: bool = False) -> None:
    """
    Log that an upload has claimed a name, or was refused it: `name_claimed` or `name_refused`.

    `is_shadow` says that a public package has the name, which clients may have installed: then the
    line is a warning.
    """
    note = ""
    level = logging.INFO
    if is_shadow:
        note = "in place of a public package"
        level = logging.WARNING
    _log(action, principal, name, {"note": note}, {"project": name}, level)


def log_token(action: str, principal: str, token_id: str, fields: Mapping[str, str]) -> None:
    """Log `token_created`, `_changed`, `_rotated`, `_revoked` or `_minted` of an API token."""
    _log(action, principal, token_id, fields, {"token": token_id})


def log_session(action: str, principal: str) -> None:
    """Log that somebody has signed in or out in a browser: `signed_in` or `signed_out`."""
    _log(action, principal, "in a browser", {}, {})


def log_person(action: str, by: str, principal: str, fields: Mapping[str, str]) -> None:
    """
    Log a change of a person's record.

    `action` is `renamed`, `sessions_ended`, `person_ended`, `person_admitted` or
    `person_name_released`. `by` is a principal, or the name of the provider.
    """
    _log(action, by, escaped(principal), fields, {"person": principal})


def log_access(principal: str, change: str) -> None:
    """Log a change of the grants and groups in the store. `change` describes it in words."""
    _log("access_changed", principal, escaped(redact_tokens(change)), {}, {})


def log_tables(kind: str, principal: str, change: str) -> None:
    """
    Log a change of the tables of a kind, such as indexes or publishers.

    `change` describes it in words.
    """
    _log(f"{kind}_changed", principal, escaped(redact_tokens(change)), {}, {})


def log_decision(decision: Decision) -> None:
    """Log a decision about a package of an upstream index: `approved` or `blocked`."""
    fields = {"reason": decision.reason, "despite": ", ".join(decision.despite)}
    json_fields: dict[str, object] = {"project": decision.project, "version": decision.version}
    if decision.sha256 is not None:
        json_fields["sha256"] = list(decision.sha256)
    _log(decision.verdict, decision.by, decision.target, fields, json_fields)


def log_request(principal: str, target: str, reason: str) -> None:
    """Log that somebody has asked for a hidden public package: `package_requested`."""
    _log("package_requested", principal, target, {"reason": reason}, {})


def _log(
    action: str,
    principal: str,
    target: str,
    fields: Mapping[str, str],
    json_fields: Mapping[str, object],
    level: int = logging.INFO,
) -> None:
    """
    Log one change, with those `fields` that are not empty.

    If lines are JSON, the line has `json_fields`, too.
    """
    filled_fields = {name: value for name, value in fields.items() if value}
    # the text of a stranger must not begin a new line in a log of text
    text = "".join(f", {name} {escaped(value)}" for name, value in filled_fields.items())
    # a line in JSON has the values as they are, as JSON escapes them itself
    facts = {**filled_fields, **json_fields, "action": action, "who": principal}
    logger.log(
        level,
        "%s by %s: %s%s",
        action.replace("_", " "),
        escaped(principal),
        target,
        text,
        extra={EXTRA_FIELDS: {AUDIT_FIELD: facts}},
    )
