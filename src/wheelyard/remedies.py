"""
What a person can do about an error or a warning, as a fact that knows no command line and no page.

An error carries an `Advice`, and so does a warning, which is a `Caution`.
`wheelyard.rendering.advice` has the words of each remedy: a command for a terminal, a sentence for
a page.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

ALL_VERSIONS: Final = ">=0.dev0"
"""The set that has every version."""


class Remedy(StrEnum):
    """Something that helps. The text in brackets below a remedy says what `Advice.subject` is."""

    CHECK_STORE = "check_store"
    REBUILD_STORE = "rebuild_store"
    START_SERVER = "start_server"
    MAKE_STORE = "make_store"
    LIST_FILES = "list_files"
    """[a project]"""
    LIST_DIGESTS = "list_digests"
    """[a project]"""
    RESTORE = "restore"
    """[a project]"""
    DELETE = "delete"
    """[a project, all of whose files have to go]"""
    DELETE_NOW = "delete_now"
    """[a project, of which deleted files have to go at once]"""
    DELETE_EVERYWHERE = "delete_everywhere"
    """[a project, of which a file has to go from all indexes]"""
    MAKE_ACTIVE = "make_active"
    """[a project that takes no uploads]"""
    YANK = "yank"
    """[a private project]"""
    UPLOAD_TO_STORE = "upload_to_store"
    UPLOAD_FILE = "upload_file"
    """[the path of a file]"""
    LIST_NAMES = "list_names"
    APPLY_FILE = "apply_file"
    """[the path of a file that describes the index]"""
    LIST_INDEXES = "list_indexes"
    CHANGE_INDEX = "change_index"
    """[an index]"""
    EMPTY_KEYS = "empty_keys"
    """[an index, whose `Advice.keys` are emptied]"""
    REPLACE_FILTER = "replace_filter"
    """[an index, which gets `Advice.keys`, each written as KEY=VALUE]"""
    RENAME_MAIN = "rename_main"
    REMOVE_INDEX = "remove_index"
    """[an index]"""
    SHOW_ACCESS = "show_access"
    CONFIRM_OWN_ACCESS = "confirm_own_access"
    NAME_INDEXES = "name_indexes"
    CONFIRM_OPEN_INDEX = "confirm_open_index"
    CONFIRM_PUBLIC_NAMES = "confirm_public_names"
    MAKE_GROUP = "make_group"
    """[a group]"""
    ADD_TO_GROUP = "add_to_group"
    """[a group that has no members]"""
    REVOKE_GRANT = "revoke_grant"
    """[the id of a grant]"""
    ADMIT_PERSON = "admit_person"
    """[a person whose access was ended]"""
    REPLACE_PASSWORDS = "replace_passwords"
    """[the path of the htpasswd file]"""
    LIST_PUBLISHERS = "list_publishers"
    LIST_NAMESPACES = "list_namespaces"
    LIST_WEBHOOKS = "list_webhooks"
    NEW_WEBHOOK_SECRET = "new_webhook_secret"  # noqa: S105 - the name of a command
    LIST_TOKENS = "list_tokens"
    CREATE_TOKEN = "create_token"  # noqa: S105 - a code
    ROTATE_TOKEN = "rotate_token"  # noqa: S105 - a code
    """[the id of a token]"""
    REVOKE_TOKEN = "revoke_token"  # noqa: S105 - a code
    """[the id of a token]"""
    PROVE_UPSTREAM = "prove_upstream"
    REQUEST_PACKAGE = "request_package"
    """[a public package, or a version of it]"""
    FORGET_OWNER = "forget_owner"
    """[a public package]"""


class Advice(Struct, frozen=True, omit_defaults=True):
    """What helps against an error, or against what a warning is about."""

    remedy: Remedy
    subject: str = ""
    """What the remedy is applied to, or an empty text. Each `Remedy` says what its subject is."""
    index: str = ""
    """The name of the index, or an empty text for the index of the command line."""
    version: str = ""
    """One version of the project."""
    versions: str = ""
    """Several versions of the project, as a set of PEP 440."""
    sha256: str = ""
    """The digest of one file, in hexadecimal digits."""
    filename: str = ""
    """One file of the project."""
    keys: tuple[str, ...] = ()
    """Keys of the index, for `REPLACE_FILTER` each with the value that it gets."""
    right: str = ""
    """The right that a token has to have, as in `token create --can`."""


class Caution(Struct, frozen=True, omit_defaults=True):
    """A warning: what asks for a look."""

    message: str
    """What asks for a look. With `advice`, the message is a sentence that ends with a full stop."""
    advice: Advice | None = None
    """What helps, for whoever shows the advice in words of their own, or None without advice."""
