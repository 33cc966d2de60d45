"""`wheelyard webhook`: webhooks of the store, from the command line."""

import pytest

from tests.cli.conftest import Done, Typed

URL = "url=https://ci.example/hook"


@pytest.fixture
def webhook(wheelyard: Typed) -> Typed:
    """Type a subcommand of `webhook`, for a store."""
    assert wheelyard("token", "create", "ci", "--store", "there").returncode == 0

    def run(*arguments: str) -> Done:
        return wheelyard("webhook", *arguments, "--store", "there")

    return run


def test_a_secret_is_printed_once(webhook: Typed, wheelyard: Typed) -> None:
    """The secret of a webhook is printed once, and no later command shows it."""
    added = webhook("add", "builds", URL)
    again = webhook("new-secret", "builds", "--note", "was in a log")

    secrets = [added.stdout.splitlines()[1], again.stdout.strip()]
    assert all(secret.startswith("whsec_") for secret in secrets)
    assert secrets[0] != secrets[1]
    assert all("It is not shown again." in done.stderr for done in (added, again))
    later = [webhook(what) for what in ("list", "history")]
    later += [webhook("show", "builds"), webhook("deliveries", "builds")]
    later += [wheelyard(what, "--store", "there") for what in ("show", "journal")]
    assert not any(secret in done.stdout for secret in secrets for done in later)
    assert 'secret = "kept"' in later[-2].stdout


def test_a_chat_has_no_secret_and_its_url_in_a_variable(webhook: Typed) -> None:
    """A webhook of a chat gets no secret, and the command says which variable has to be set."""
    added = webhook("add", "chat", "format=slack")

    assert added.stdout.splitlines()[1:] == []
    assert "It is not shown again." not in added.stderr
    assert "This process has no WHEELYARD_WEBHOOK_CHAT_URL" in added.stderr
    assert "WHEELYARD_WEBHOOK_CHAT_URL" in webhook("show", "chat").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("add x colour=red", 1, "is no key of a webhook. It has url, "),
        ("add x name=y", 2, "Leave name= out"),
        ("show x", 1, "no webhook"),
        ("test x", 1, "no webhook"),
        ("send-again x", 2, "or give --all"),
    ],
)
def test_what_is_refused(webhook: Typed, arguments: str, status: int, words: str) -> None:
    """Words that are no keys, and commands about no webhook, are refused; nothing is stored."""
    done = webhook(*arguments.split(" "))

    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert webhook("list").stdout == ""
