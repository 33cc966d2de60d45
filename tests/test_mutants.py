"""The changes that `tools/mutants.py` makes to the code, to see whether the tests notice."""

import subprocess
import sys
from dataclasses import replace

import pytest

from tools.mutants import ROOT, located, read_sample
from tools.mutations import Mutant, find, mutants, replaced

SOURCE = '''\
"""A module."""
LIMIT = 3

class Shelf:
    def add(self, book: "str | None", shelves: int = 1) -> bool:
        if book is None:
            return False
        if not book or "é" in book and shelves > 1:
            raise ValueError(f"{book is None}")
        self.books.append(book)
        return any(each == book for each in self.books) and book is None

def size(shelf):
    return 1 if shelf.books else 0
'''
SECOND = "return any(each == book for each in self.books) and (True)"
MOVED = SOURCE.replace("LIMIT = 3", "# moved\n\n\nLIMIT = 3").replace(
    "book is None:", "book is None :"
)


def made(function: str, original: str, replacement: str, occurrence: int = 1) -> str:
    """Return the lines of the source in which a change is seen."""
    node = find(Mutant("shelf", function, "", original, replacement, occurrence), MOVED)
    assert node is not None
    changed = replaced(MOVED, node, replacement).splitlines()
    return "\n".join(line.strip() for line in changed if line not in MOVED.splitlines())


def test_changes_of_each_kind() -> None:
    """Guards, raises, comparisons, conditions, calls, returned and other constants are changed."""
    drawn = {(each.kind, each.original, each.replacement) for each in mutants("shelf", SOURCE)}

    assert drawn >= {
        ("number", "3", "4"),
        ("guard", "book is None", "False"),
        ("comparison", "book is None", "book is not None"),
        ("return", "return False", "return True"),
        ("raise", "raise ValueError(f'{book is None}')", "pass"),
        ("call", "self.books.append(book)", "None"),
        ("branch", "shelf.books", "not (shelf.books)"),
        ("boolean", "not book", "book"),
        ("boolean", "'é' in book and shelves > 1", "'é' in book or shelves > 1"),
        ("boolean", "'é' in book and shelves > 1", "shelves > 1"),
    }


@pytest.mark.parametrize(
    ("function", "original", "replacement", "occurrence", "line"),
    [
        ("", "3", "4", 1, "LIMIT = (4)"),
        ("Shelf.add", "1", "2", 2, 'if not book or "é" in book and shelves > (2):'),
        ("Shelf.add", "book is None", "False", 1, "if (False) :"),
        ("Shelf.add", "book is None", "True", 2, SECOND),
        ("Shelf.add", "self.books.append(book)", "None", 1, "(None)"),
        ("Shelf.add", "return False", "return True", 1, "return True"),
        ("size", "shelf.books", "not (shelf.books)", 1, "return 1 if (not (shelf.books)) else 0"),
    ],
)
def test_a_change_is_made_where_its_code_is_now(
    function: str, original: str, replacement: str, occurrence: int, line: str
) -> None:
    """A change finds the code that it was drawn for, though that has moved."""
    assert made(function, original, replacement, occurrence) == line


@pytest.mark.parametrize(
    ("function", "original", "occurrence"),
    [("Shelf.add", "book is None", 3), ("Shelf.remove", "book is None", 1), ("", "4", 1)],
)
def test_gone(function: str, original: str, occurrence: int) -> None:
    """A change whose code has been rewritten is gone, and no other is made in its place."""
    assert find(Mutant("shelf", function, "", original, "True", occurrence), SOURCE) is None


def test_sample() -> None:
    """The sample has changes of every kind, each once, and the gaps that are known."""
    sample = read_sample()

    assert len({str(each) for each in sample}) == len(sample) > 160
    assert len({each.kind for each in sample}) == 8
    assert any(each.gap for each in sample)


def test_code_that_moves_into_another_module() -> None:
    """A change is found in another module of its package, if its function has moved there."""
    drawn = next(each for each in read_sample() if each.function == "DocumentCache.peek")
    moved = replace(drawn, module="wheelyard.catalog.elsewhere")
    rewritten = replace(moved, original="max_age == 5")

    location = located(moved)

    assert location is not None
    assert location == located(drawn)
    assert location.module == "wheelyard.catalog.document_cache"
    assert located(rewritten) is None


@pytest.mark.integration
def test_a_change_that_a_test_notices() -> None:
    """Tests run with the changed code, and the first that fails is named."""
    program = """if True:
        from pathlib import Path
        from tools.covering import killer
        path = Path("src/wheelyard/errors.py").absolute()
        tests = ["tests/test_conventions.py::test_links_lead_somewhere[docs/api.md]",
                 "tests/test_conventions.py::test_every_refusal_is_documented"]
        for code in (path.read_text(), "raise ImportError"):
            print([killer("wheelyard.errors", path, code, tests)])
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.splitlines() == ["['']", "['tests/test_conventions.py']"]
