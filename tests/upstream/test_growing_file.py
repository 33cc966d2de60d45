"""A public file that is still being fetched, and those who read it meanwhile."""

import os
from functools import partial
from pathlib import Path

import pytest

from tests.fake_time import Clock, fake_runtime
from wheelyard.errors import Unavailable
from wheelyard.upstream.growing_file import NOTICE_BYTES, FollowedBody, GrowingFile, OpenDescriptor


def test_who_waits_is_called_once_there_are_bytes(tmp_path: Path) -> None:
    """A reader that waits is called once: when there are bytes for it, or no more will come."""
    with (tmp_path / "file").open("w+b") as file:
        descriptor = OpenDescriptor(os.dup(file.fileno()))
        growing = GrowingFile(descriptor, None, fake_runtime(Clock(), 1))
        called = list[str]()
        assert not growing.when_readable(0, None, partial(called.append, "first"))
        assert not growing.when_readable(9 * NOTICE_BYTES, None, partial(called.append, "later"))

        growing.add(2 * NOTICE_BYTES)
        called_before_the_end = list(called)
        growing.verify()
        descriptor.close()

    assert called_before_the_end == ["first"]
    assert called == ["first", "later"]


def test_a_file_that_somebody_cuts_off(tmp_path: Path) -> None:
    """The reader of a file that loses its bytes in the spool is told to ask for it again."""
    with (tmp_path / "file").open("w+b") as file:
        descriptor = OpenDescriptor(os.dup(file.fileno()))
        growing = GrowingFile(descriptor, None, fake_runtime(Clock(), 1))
        growing.add(1)  # a byte that the file does not have any more
        growing.verify()
        with pytest.raises(Unavailable, match=r"has been cut off\. Ask for it again\."):
            next(FollowedBody(growing, 0, None))
        descriptor.close()
