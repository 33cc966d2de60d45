"""The pages for administrators, in the order of their navigation."""

from typing import Final

from msgspec import Struct


class Section(Struct, frozen=True):
    """A page for administrators."""

    path: str
    """The path below `-/admin/`, with a slash at its end, or empty for the overview."""
    title: str
    summary: str
    """What people can see and do on the page, in a few sentences."""


SECTIONS: Final = (
    Section("", "Overview", ""),
    Section(
        "people/",
        "People",
        "Everybody whom this index knows, what each of them may do and through what, and their "
        "tokens. End somebody's access.",
    ),
    Section(
        "groups/",
        "Groups",
        "Groups of people and programs that grants can name. Make them, and change who is in them.",
    ),
    Section(
        "grants/",
        "Grants",
        "Who may do what to which projects. Add grants, revoke them, and see who has done that.",
    ),
    Section(
        "explain/",
        "Who may do what",
        "Whether somebody may read, upload to or manage a project, and why.",
    ),
    Section(
        "tokens/",
        "API tokens",
        "All API tokens, with their last use and end. Make tokens for somebody or nobody, and "
        "revoke them.",
    ),
    Section(
        "publishers/",
        "Trusted publishers",
        "CI jobs that publish or install without a stored secret. Add, change and remove them.",
    ),
    Section(
        "namespaces/",
        "Namespaces",
        "Names such as acme-*, and who alone may publish new projects of them. Grant, change and "
        "revoke them.",
    ),
    Section(
        "webhooks/",
        "Webhooks",
        "URLs that are told what happens, and what was sent to them. Add, test, change and remove "
        "them.",
    ),
    Section(
        "indexes/",
        "Indexes",
        "Indexes such as dev and prod, and from which layers each is made. Make, change and "
        "remove them.",
    ),
    Section(
        "requests/",
        "Package requests",
        "What people wanted of public packages and the policy hid. Approve it, or block it.",
    ),
    Section(
        "names/",
        "Private names",
        "Names of which no other index is asked, and why. Reserve names, and release them.",
    ),
    Section(
        "journal/",
        "Journal",
        "Who did what and when, to projects, rights and public packages, with filters.",
    ),
    Section("storage/", "Storage", "How much each project stores: bytes and files."),
    Section(
        "retention/",
        "Retention",
        "The rules by which old releases are deleted, what they would delete now, and why.",
    ),
    Section("health/", "Health", "What works, what does not, and what of the settings to look at."),
    Section("settings/", "Settings", "The settings in force, and where each comes from."),
)
