"""Something that gives somebody rights on a project, for people to read."""

from dataclasses import dataclass

from wheelyard.model.access import Action


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """Something that gives somebody rights on a project."""

    who: str
    """A principal or a group, as in a grant; or words, such as `everybody`."""
    actions: Action
    """What they may do to the project."""
    reason: str
    """What gives them the right, in words; it names no other project."""
    members: tuple[str, ...] = ()
    """If it is a group, its members."""
    details: str = ""
    """What only administrators may know: the projects and the note of a grant or token."""
