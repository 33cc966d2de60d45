"""What the commands on the tables of each kind share: list, history, add, change, remove."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from wheelyard.api.project_operations import WHOLE_HISTORY
from wheelyard.api.table_operations import TableOperations
from wheelyard.cli.command_context import Api, open_api
from wheelyard.cli.history import history_lines, token_names
from wheelyard.cli.output import print_result, warn
from wheelyard.cli.program import caution_text, warn_of
from wheelyard.errors import quoted
from wheelyard.model.decoding import escaped
from wheelyard.model.grants import with_name
from wheelyard.model.stored_tables import ListedTable


class TableCommands:
    """
    Runs the commands on the tables of a kind, such as indexes or webhooks, and prints the results.

    Each method may raise UsageError for a wrong command line, and WheelyardError if the request is
    refused, or the store or the server does not answer.

    Args:
        operations: The operations on the tables of this kind.
        not_in_force: What a list says of a table that has a problem, such as `not served`.
    """

    def __init__(self, operations: TableOperations, not_in_force: str) -> None:
        self._operations = operations
        self._kind = operations.kind
        self._json = operations.json
        self._not_in_force = not_in_force

    def print_list(self) -> Any:  # noqa: ANN401 - the class of the kind
        """Print all tables, and return the answer that has them."""
        api = open_api()
        answer = api.call(self._operations.list)
        print_result(answer, self._table_lines(answer.tables, api), self._kind.titles)
        return answer

    def print_history(self) -> None:
        """Print the changes, oldest first."""
        api = open_api()
        changes = []
        for commit in api.call(self._operations.history, WHOLE_HISTORY).commits:
            changes += commit.events
        descriptions = map(self._kind.describe_event, changes)
        print_result({"changes": changes}, history_lines(api, changes, descriptions))

    def find(self, name: str) -> ListedTable | None:
        """Return the table of this name, or None if there is none."""
        rows: Sequence[ListedTable] = open_api().call(self._operations.list).tables
        for row in rows:
            if row.name == name:
                return row
        return None

    def add(self, keys: Mapping[str, Any], note: str, **confirmed: bool) -> None:
        """Add a table, and print it."""
        body = self._json.new(keys=dict(keys), note=note, **confirmed)
        self.print_row(open_api().call(self._operations.add, body))

    def change(self, name: str, keys: Mapping[str, Any], note: str, **confirmed: bool) -> None:
        """Give other values to keys of a table, where None leaves a key out, and print it."""
        # without as_of, which is for forms: they show values that may have changed meanwhile
        body = self._json.edit(name=name, keys=dict(keys), note=note, as_of=None, **confirmed)
        self.print_row(open_api().call(self._operations.change, body))

    def remove(self, names: Sequence[str], note: str) -> None:
        """Remove tables in this order, and print each, up to the first whose removal raises."""
        api = open_api()
        # printed one by one, as tables that were removed before an error stay removed
        for name in names:
            removal = self._json.removal(name=name, note=note)
            removed = api.call(self._operations.remove, removal)
            click.echo(escaped(f"{name}: removed"))
            if removed is not None:
                warn_of(removed.warnings)

    def print_row(self, row: ListedTable) -> None:
        """Print a table after a change, and warn of what is wrong with it."""
        click.echo(escaped(f"{row.name}: {self._kind.describe_keys(row.keys)}"))
        if row.problem:
            warn(row.problem)
        warn_of(row.cautions)

    def _table_lines(self, rows: Sequence[ListedTable], api: Api) -> Iterator[tuple[str, ...]]:
        """Yield the columns of each table: those of its kind, its origin, and its problems."""
        names_by_principal = token_names(api, {row.created_by for row in rows})
        for row in rows:
            origin = ""
            if row.created is not None:
                author = with_name(row.created_by, names_by_principal.get(row.created_by, ""))
                origin = f"{row.created:%Y-%m-%d} by {author}"
            if row.source:
                origin = f"{origin}, from {row.source}"
            columns = [*self._kind.cells(row), origin]
            if row.problem:
                columns.append(f"{self._not_in_force}: {row.problem}")
            columns += [f"warning: {caution_text(warning)}" for warning in row.cautions]
            yield tuple(columns)


def texts_in(words: Sequence[str]) -> dict[str, str]:
    """
    Return the texts of KEY=VALUE words by key.

    Raises UsageError if a word has no `=`, or a key comes twice.
    """
    texts = dict[str, str]()
    for word in words:
        # the first =: a value such as a URL may have others
        key, equals, value = word.partition("=")
        if not equals:
            raise click.UsageError(f"{quoted(word)} is no KEY=VALUE.")
        if key in texts:
            raise click.UsageError(f"{quoted(key)} is given twice. A list has commas.")
        texts[key] = value
    return texts
