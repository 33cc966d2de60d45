"""`wheelyard token change`: the indexes that a token is about."""

from tests.cli.conftest import Typed


def test_a_token_is_changed_by_its_name(wheelyard: Typed) -> None:
    """`token change` gives a token other indexes, and refuses one that does not exist."""
    place = ("--store", "there")
    assert wheelyard("token", "create", "ci", *place).returncode == 0
    assert wheelyard("index", "add", "dev", *place).returncode == 0

    changed = wheelyard("token", "change", "ci", "--index", "dev,main", *place)
    unknown = wheelyard("token", "change", "ci", "--index", "nope", *place)

    assert "read,upload on * in the indexes dev and main" in changed.stdout
    assert "in the indexes dev and main" in wheelyard("token", "list", *place).stdout
    assert (unknown.returncode, "There is no index 'nope'" in unknown.stderr) == (1, True)
