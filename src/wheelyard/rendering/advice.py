"""
The words of each remedy: the command and the sentence for a terminal, the sentence for a page.

`wheelyard.remedies` has the remedies as facts. All texts about them are here, so that a command and
a page that tell of one error give the advice that fits each.
"""

from collections.abc import Iterable, Mapping
from shlex import quote
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.errors import WheelyardError
from wheelyard.model.access import Action
from wheelyard.model.decoding import escaped
from wheelyard.model.index_name import MAIN
from wheelyard.remedies import Advice, Caution, Remedy

NOTHING: Final = ""
"""The sentence for a page whose reader can do nothing, or that has a form for the remedy."""
ON_STORE: Final = frozenset(
    {
        Remedy.RENAME_MAIN,
        Remedy.CHECK_STORE,
        Remedy.FORGET_OWNER,
        Remedy.MAKE_STORE,
        Remedy.REBUILD_STORE,
        Remedy.START_SERVER,
    }
)
"""Remedies whose command works on the store itself, so that no server can do it."""
ON_MACHINE: Final = frozenset({Remedy.REPLACE_PASSWORDS})
"""Remedies whose command needs neither a store nor a server."""
ASKING: Final = frozenset({Remedy.DELETE, Remedy.DELETE_EVERYWHERE, Remedy.DELETE_NOW})
"""Remedies whose command asks for a confirmation first."""
IN_INDEX: Final = frozenset(
    {
        Remedy.CREATE_TOKEN,
        Remedy.DELETE,
        Remedy.DELETE_EVERYWHERE,
        Remedy.DELETE_NOW,
        Remedy.LIST_DIGESTS,
        Remedy.LIST_FILES,
        Remedy.MAKE_ACTIVE,
        Remedy.RESTORE,
        Remedy.UPLOAD_FILE,
        Remedy.UPLOAD_TO_STORE,
        Remedy.YANK,
    }
)
"""Remedies whose command changes or reads one index."""

GIVING_RIGHTS: Final = "Administrators of this index give rights on the page Grants."
"""The sentence of each page about a missing right."""
_OPERATOR_CHECKS: Final = "Tell the operator of this index, who can check the store."


class Wording(Struct, frozen=True):
    """The texts of one remedy."""

    command: str
    """
    The words behind the program, in which `{}` is the subject, and `{sha256}` the digest.

    Empty if the remedy is an option of the command that failed.
    """
    terminal: str
    """The sentence for a terminal, in which each `{}` is a whole command."""
    page: str
    """The sentence for a page, or `NOTHING`."""
    second_command: str = ""
    """The words of another command in `terminal`, or empty if the sentence has only one."""


WORDINGS: Final[Mapping[Remedy, Wording]] = MappingProxyType(
    {
        Remedy.CHECK_STORE: Wording(
            "check", "Run {}, which says what can be done about it.", _OPERATOR_CHECKS
        ),
        Remedy.REBUILD_STORE: Wording(
            "check --rebuild", "Run {}, or restore the store from a backup.", _OPERATOR_CHECKS
        ),
        Remedy.START_SERVER: Wording(
            "serve", "Or start a server once, which makes it: {}.", NOTHING
        ),
        Remedy.MAKE_STORE: Wording("serve", "{} and {} make one.", NOTHING, "upload FILE"),
        Remedy.LIST_FILES: Wording(
            "list {}", "{} shows what it has.", "Its page shows what it has."
        ),
        Remedy.LIST_DIGESTS: Wording(
            "list {} --json",
            "{} shows the digests of its files.",
            "Its page shows the digests of its files.",
        ),
        Remedy.RESTORE: Wording(
            "restore {}",
            "Whoever manages the project restores it by {}.",
            "Whoever manages the project restores it on its page.",
        ),
        Remedy.DELETE: Wording(
            "delete {}", "Delete them first: {}.", "Delete them first, on its page."
        ),
        Remedy.DELETE_NOW: Wording(
            "delete {} sha256:{sha256} --now",
            "Or, if no other index has them, remove them now: {}.",
            NOTHING,
        ),
        Remedy.DELETE_EVERYWHERE: Wording(
            "delete {} sha256:{sha256} --now --everywhere",
            "{} removes the bytes from all indexes.",
            NOTHING,
        ),
        Remedy.MAKE_ACTIVE: Wording(
            "status {} active",
            "Whoever manages it makes it active again by {}.",
            "Whoever manages it can make it active again on the page of the project.",
        ),
        Remedy.YANK: Wording(
            "yank {} VERSION",
            "{} hides a private release.",
            "Whoever manages the project can yank or delete a release on its page.",
        ),
        Remedy.UPLOAD_TO_STORE: Wording("upload FILE", "{} does that where the store is.", NOTHING),
        Remedy.UPLOAD_FILE: Wording("upload {}", "Or publish that file: {}.", NOTHING),
        Remedy.LIST_NAMES: Wording(
            "names list", "{} shows the private names.", "The page Private names shows them."
        ),
        Remedy.APPLY_FILE: Wording(
            "apply {}", "Put it into the store by {}, and take it out of there.", NOTHING
        ),
        Remedy.LIST_INDEXES: Wording(
            "index list", "{} shows those there are.", "The home page shows those there are."
        ),
        Remedy.CHANGE_INDEX: Wording(
            "index change {} KEY=VALUE", "{} changes it.", "The page Indexes changes it."
        ),
        Remedy.EMPTY_KEYS: Wording(
            "index change {}", "Take them away: {}.", "Take them away on the page of indexes."
        ),
        Remedy.REPLACE_FILTER: Wording(
            "index change {}", "Replace it: {}.", "Replace it on the page of indexes."
        ),
        Remedy.RENAME_MAIN: Wording(
            "index rename main NEW",
            "{} does that in the store.",
            "Who operates the store can do that with a command.",
        ),
        Remedy.REMOVE_INDEX: Wording(
            "index remove {}",
            "{} removes it from the store.",
            "The page Indexes removes it.",
        ),
        Remedy.SHOW_ACCESS: Wording(
            "access show",
            "{} shows what there is.",
            "The pages Grants and Groups show what there is.",
        ),
        Remedy.CONFIRM_OWN_ACCESS: Wording(
            "",
            "Confirm that you want that, by --even-if-own, or the field even_if_own of the API.",
            "Confirm that you want that with the box of the form.",
        ),
        Remedy.CONFIRM_OPEN_INDEX: Wording(
            "",
            "Confirm that you want that, by --even-if-open, or the field even_if_open of the API.",
            "Confirm that you want that with the box of the form.",
        ),
        Remedy.CONFIRM_PUBLIC_NAMES: Wording(
            "",
            "Confirm that you want that, by --even-if-public, or the field even_if_public of the "
            "API.",
            "Confirm that you want that with the box of the form.",
        ),
        Remedy.NAME_INDEXES: Wording(
            "access show",
            "{} and the lists of tokens and of publishers say which. Grant these rights again with "
            "--index and revoke the old ones; token change and publisher change name an index.",
            "The pages Grants, API tokens and Trusted publishers say which.",
        ),
        Remedy.MAKE_GROUP: Wording(
            "access group set {} PRINCIPAL...",
            "{} makes it.",
            "The page Groups makes it.",
        ),
        Remedy.ADD_TO_GROUP: Wording(
            "access group add {} PRINCIPAL...",
            "Add some: {}.",
            "Add some on the page Groups.",
        ),
        Remedy.REVOKE_GRANT: Wording(
            "access revoke {}", "{} revokes one.", "The page Grants revokes them."
        ),
        Remedy.ADMIT_PERSON: Wording(
            "people admit {}",
            "To let them in again: {}.",
            "To let them in again, use the page People.",
        ),
        Remedy.REPLACE_PASSWORDS: Wording(
            "password NAME --file {} --replace",
            "Give each another line: {}.",
            "The operator of the server has to give each another line.",
        ),
        Remedy.LIST_PUBLISHERS: Wording(
            "publisher list", "{} shows those there are.", "The page Trusted publishers shows them."
        ),
        Remedy.LIST_NAMESPACES: Wording(
            "namespace list", "{} shows those there are.", "The page Namespaces shows them."
        ),
        Remedy.LIST_WEBHOOKS: Wording(
            "webhook list", "{} shows those there are.", "The page Webhooks shows them."
        ),
        Remedy.NEW_WEBHOOK_SECRET: Wording(
            "webhook new-secret {}", "{} makes one.", "The page of the webhook makes one."
        ),
        Remedy.LIST_TOKENS: Wording(
            "token list", "{} shows those there are.", "The page API tokens shows those there are."
        ),
        Remedy.CREATE_TOKEN: Wording(
            "token create NAME", "{} makes one.", "The account page makes a token."
        ),
        Remedy.ROTATE_TOKEN: Wording(
            "token rotate {}", "Rotate that: {}.", "Rotate that one on the page API tokens."
        ),
        Remedy.REVOKE_TOKEN: Wording(
            "token revoke {}", "{} ends it.", "The page API tokens ends it."
        ),
        Remedy.PROVE_UPSTREAM: Wording(
            "upstream why PROJECT",
            "If it is right, open one page of it first: {}.",
            "Tell the operator of this index, who can check the settings.",
        ),
        # pages that say why something is hidden have the form
        Remedy.REQUEST_PACKAGE: Wording(
            "upstream request --reason WHY {}",
            "Ask at /-/request/ or by {}, which {} answers.",
            NOTHING,
            "upstream approve {}",
        ),
        Remedy.FORGET_OWNER: Wording(
            "upstream forget {}",
            "Then {} gives it to the first upstream index that has it.",
            NOTHING,
        ),
    }
)
"""The words of every remedy."""


class Terminal(Struct, frozen=True):
    """Where the reader of a message types commands, which decides how commands are written."""

    index: str = MAIN
    """The index that the message is about if the advice names no index."""
    program: tuple[str, ...] = ("wheelyard",)
    """The words that start wheelyard."""
    place: tuple[str, ...] = ()
    """The options that name the server or the store, as the reader typed them."""
    has_server: bool = False
    """Whether `place` names a server."""
    asks_nobody: bool = False
    """Whether nobody can answer a question, so that commands of `ASKING` have `--yes`."""
    default_index: str = MAIN
    """The index of a command that names no index."""

    def commands(self, advice: Advice) -> list[str]:
        """
        Return the commands that the sentence of an advice names, as lines for a shell.

        The list is empty if an option of the command that failed does what the advice says.
        """
        wording = WORDINGS[advice.remedy]
        templates = [words for words in (wording.command, wording.second_command) if words]
        return [self._fill_template(template, advice) for template in templates]

    def _fill_template(self, template: str, advice: Advice) -> str:
        """Return the command of a template with the subject and the options of an advice."""
        digest = advice.sha256 or "..."
        # word by word, as a subject may have blanks and is one word all the same
        words = [word.format(advice.subject, sha256=digest) for word in template.split()]
        words += _command_options(advice)
        # in a script, a command that asks would wait for an answer, or fail
        if self.asks_nobody and advice.remedy in ASKING:
            words.append("--yes")
        index = advice.index or self.index
        # a command is short where it means the right index anyway
        if advice.remedy in IN_INDEX and not self._is_implied(index, advice):
            words += ["--index", index]
        needs_store = advice.remedy in ON_STORE and self.has_server
        if advice.remedy in ON_MACHINE or needs_store:
            # the command does not take the options that name the server or the store
            return replace(self, place=()).line(words)
        return self.line(words)

    def _is_implied(self, index: str, advice: Advice) -> bool:
        """Return whether the command of an advice is about `index` without `--index`."""
        if advice.remedy is not Remedy.CREATE_TOKEN:
            return index == self.default_index
        # rights take no index from a variable, and without an index, one to administer is for all
        return index == MAIN and advice.right != Action.ADMIN.word

    def line(self, words: Iterable[str]) -> str:
        """Return the line for a shell that runs wheelyard with these words and this place."""
        all_words = [*self.program, *words, *self.place]
        # a name may come from a stranger's archive: no terminal obeys it, and no shell runs it
        return " ".join(quote(escaped(word)) for word in all_words)

    def message(self, message: str, advice: Advice | None) -> str:
        """Return a message and the sentence that says which command helps, if there is advice."""
        if advice is None:
            return message
        commands = [f"'{command}'" for command in self.commands(advice)]
        sentence = WORDINGS[advice.remedy].terminal.format(*commands)
        return f"{message} {sentence}"


def error_on_page(error: WheelyardError) -> str:
    """Return the message of an error, with the sentence of its advice for a page."""
    return message_on_page(error.message, error.advice)


def caution_on_page(caution: Caution) -> str:
    """Return the message of a warning, with the sentence of its advice for a page."""
    return message_on_page(caution.message, caution.advice)


def message_on_page(message: str, advice: Advice | None) -> str:
    """Return a message and the sentence of an advice for a page, if there is any."""
    if advice is None:
        return message
    sentence = WORDINGS[advice.remedy].page
    if advice.right:
        # the page for tokens is no help: people cannot give a token a right that they lack
        sentence = GIVING_RIGHTS
    return f"{message} {sentence}".rstrip()


def _command_options(advice: Advice) -> list[str]:
    """Return the words that stand behind the subject in the command of an advice."""
    options: list[str] = []
    for key in advice.keys:
        if "=" in key:
            options.append(key)
        else:
            options.append(f"{key}=")  # an empty value removes the key
    if advice.version:
        options.append(advice.version)
    if advice.versions:
        options += ["--versions", advice.versions]
    if advice.filename:
        options += ["--file", advice.filename]
    if advice.right:
        options += ["--can", advice.right]
    if advice.right and advice.subject:
        options += ["--project", advice.subject]
    return options
