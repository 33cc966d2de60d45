"""A public file that is still being fetched, and those who read it meanwhile."""

import os
from functools import partial
from pathlib import Path

from tests.fake_time import Clock, fake_runtime
from wheelyard.upstream.growing_file import NOTICE_BYTES, GrowingFile, OpenDescriptor


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
