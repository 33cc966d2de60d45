"""Section `[webhooks]`, and variables with secrets and URLs of webhooks."""

import pickle
from typing import Final

import pytest

from tests.settings.written import variables_of
from wheelyard.errors import Invalid
from wheelyard.model.variable_names import variable_part
from wheelyard.settings.load import load_settings, unknown_variables
from wheelyard.settings.sections import Settings, all_settings

SECRET: Final = "WHEELYARD_WEBHOOK_CI_RUNS_SECRET"
URL: Final = "WHEELYARD_WEBHOOK_CHAT_URL"
HOOK: Final = "https://chat.example/hooks?key=T0PS3CRET"


@pytest.mark.parametrize(
    "network",
    ["169.254.0.0/16", "169.254.169.254/32", "169.0.0.0/8", "0.0.0.0/0", "fe80::/64", "::/0"],
)
def test_link_local_addresses_are_never_allowed(network: str) -> None:
    """A network with addresses of the metadata of clouds stops the start."""
    given = variables_of(f"webhooks.allow_private_networks=10.0.0.0/8, {network}")
    with pytest.raises(Invalid, match=f"works: {network} has link-local addresses"):
        load_settings(environ=given)


def test_private_networks_are_allowed() -> None:
    """Private networks of either family are what webhooks may lead to."""
    given = variables_of("webhooks.allow_private_networks=10.0.0.0/8, 127.0.0.0/8, fd00::/8")
    settings = load_settings(environ=given).settings
    assert settings.webhooks.allow_private_networks == ("10.0.0.0/8", "127.0.0.0/8", "fd00::/8")


def test_variables_have_secrets_and_urls_of_webhooks() -> None:
    """Variables that are not empty have the secrets and URLs of webhooks, also for workers."""
    environ = {SECRET: "s3cret", URL: HOOK, "WHEELYARD_WEBHOOK_OTHER_SECRET": ""}
    loaded = load_settings(environ=environ)
    variables = loaded.settings.webhook_variables
    assert variables.secrets == {variable_part("ci-runs"): "s3cret"}
    assert variables.urls == {variable_part("chat"): HOOK}
    assert unknown_variables(environ) == []
    assert pickle.loads(pickle.dumps(loaded.settings)) == loaded.settings  # noqa: S301 - our own


def test_variables_of_webhooks_are_shown_nowhere() -> None:
    """No list of the settings has a secret of a webhook, and no text of them in a log has one."""
    loaded = load_settings(environ={SECRET: "s3cret", URL: HOOK})
    texts = f"{loaded.settings!r} {loaded.settings.webhook_variables!r} {loaded.sources}"
    assert "s3cret" not in texts
    assert "T0PS3CRET" not in texts
    assert not any(path[0] == "webhook_variables" for path in all_settings())


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        (SECRET, "T0PS3CRET\udcff", f"{SECRET}: expected text in UTF-8"),
        ("WHEELYARD_WEBHOOK_SECRET", "T0PS3CRET", "WHEELYARD_WEBHOOK_SECRET is no setting"),
        ("WHEELYARD_WEBHOOK_CI_TOKEN", "T0PS3CRET", "WHEELYARD_WEBHOOK_CI_TOKEN is no setting"),
    ],
)
def test_unusable_variables_stop_the_start(variable: str, text: str, words: str) -> None:
    """A variable of a webhook that cannot be used stops the start, and its text is not shown."""
    with pytest.raises(Invalid, match=words) as refused:
        load_settings(environ={variable: text})
    assert "T0PS3CRET" not in refused.value.message


@pytest.mark.parametrize("key", ["secrets", "urls"])
def test_a_file_has_no_secrets_of_webhooks(key: str) -> None:
    """A settings file has no place for secrets and URLs of webhooks."""
    for section in ("webhook_variables", "webhooks"):
        text = f'[{section}]\n{key} = {{ CI = "T0PS3CRET" }}'
        with pytest.raises(Invalid, match="there is no") as refused:
            load_settings(environ={"WHEELYARD_TOML": text})
        assert "T0PS3CRET" not in refused.value.message
    assert load_settings(environ={}).settings == Settings()
