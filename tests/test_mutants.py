"""The changes that `tools/mutants.py` makes to the code, to see whether the tests notice."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.mutants import ROOT, drawn
from tools.mutations import Mutant, mutants

pytestmark = pytest.mark.slow

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


def change(function: str, original: str, replacement: str, occurrence: int = 1) -> Mutant:
    """Return one change to the source."""
    drawn = [
        mutant
        for mutant in mutants(Path("shelf.py"), SOURCE)
        if (mutant.function, mutant.original) == (function, original)
        and mutant.replacement == replacement
    ]
    return drawn[occurrence - 1]


def test_changes_of_each_kind() -> None:
    """Guards, raises, comparisons, conditions, calls, returned and other constants are changed."""
    kinds = {
        (mutant.kind, mutant.original, mutant.replacement)
        for mutant in mutants(Path("shelf.py"), SOURCE)
    }

    assert kinds >= {
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
        ("Shelf.add", "book is None", "False", 1, "if (False):"),
        ("Shelf.add", "self.books.append(book)", "None", 1, "(None)"),
        ("Shelf.add", "return False", "return True", 1, "return True"),
        ("size", "shelf.books", "not (shelf.books)", 1, "return 1 if (not (shelf.books)) else 0"),
    ],
)
def test_a_change_is_made_in_its_place(
    function: str, original: str, replacement: str, occurrence: int, line: str
) -> None:
    """Only the code that a change is about is replaced."""
    changed = change(function, original, replacement, occurrence).changed(SOURCE).splitlines()

    before = SOURCE.splitlines()
    assert [text.strip() for text in changed if text not in before] == [line]


def test_a_sample_has_no_two_changes_at_one_place() -> None:
    """A sample is the same for one seed, has as many changes as wanted, and none twice."""
    sample = list(drawn(1, 20, "concurrency"))

    assert len({(mutant.path, mutant.first) for mutant in sample}) == len(sample) == 20
    assert sample == list(drawn(1, 20, "concurrency"))
    assert sample != list(drawn(2, 20, "concurrency"))


@pytest.mark.integration
@pytest.mark.weekly
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
