"""Tables of TOML in words."""

from wheelyard.model.table_texts import describe_table


def test_a_list_of_thousands_is_cut() -> None:
    """Whoever reads a list or a log sees the first names, and how many more there are."""
    names = [f"n{number}" for number in range(7000)]

    text = describe_table({"deny": names})

    assert text.startswith("deny n0 n1 ")
    assert text.endswith(" n19 and 6980 more")


def test_values_are_written_as_in_the_table() -> None:
    """Truth values are written as TOML has them, also within a list or a table."""
    text = describe_table({"promote_only": True, "rules": [{"yanked": False}]})

    assert text == "promote_only true, rules yanked=false"
