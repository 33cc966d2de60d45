"""Two servers over one bucket, of which one is killed again and again while they deliver."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Lock

import pytest
from standardwebhooks import Webhook as Verifier

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.instances.bucket_cluster import BucketCluster, Instance
from tests.services.service import BucketView
from tests.waiting import TIMEOUT_SECONDS
from tests.webhooks.crashing import assert_in_order
from tests.webhooks.receivers import Received, Receiver, running_receiver, without_repetitions
from tests.webhooks.serving import add_webhooks

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KILLED_AT = (2, 5)
"""The messages during whose answers the server dies that has sent them."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver."""
    with running_receiver() as running:
        yield running


def uploads() -> Iterator[list[Distribution]]:
    """Yield what is uploaded, in several rounds."""
    for version in ("1.0", "2.0", "3.0"):
        yield [
            make_wheel(version=version),
            make_wheel("other", version=version),
            make_sdist(version=version),
        ]


def test_everything_answered_arrives_in_order_though_servers_are_killed(
    bucket_and_cluster: tuple[BucketView, BucketCluster], receiver: Receiver, tmp_path: Path
) -> None:
    """Of each answered upload, a webhook is told in order, whichever server dies while it tells."""
    bucket, cluster = bucket_and_cluster
    # both are behind one name, which is in the messages
    url = {"WHEELYARD_SERVER_PUBLIC_URL": "https://packages.example"}
    cluster = cluster.with_variables(**{**cluster.variables, **url})
    token = cluster.make_token()
    secret = add_webhooks(bucket, tmp_path, {"builds": {"url": receiver.url}})["builds"]
    receiver.secret = secret
    lock = Lock()
    answered = list[Distribution]()
    has_all = Event()
    total = sum(len(each) for each in uploads())
    running = list[Instance]()
    killed = list[Instance]()

    def answer(received: Received) -> int:
        Verifier(secret).verify(received.body, dict(received.headers))
        with lock:
            if len(receiver.asked) in KILLED_AT and len(running) > 1:
                # of two servers, one has sent this
                instance = running.pop(0)
                killed.append(instance)
                instance.kill()
        if len({message.id for message in (*receiver.taken, received)}) == total:
            has_all.set()
        return 200

    receiver.answer = answer
    with ExitStack() as stack:
        for _ in range(2):
            running.append(stack.enter_context(cluster.serving(token)))
        for number, round_ in enumerate(uploads()):
            for made in round_:
                with lock:
                    instance = running[number % len(running)]
                # 0 if it was killed just then: then it may be there or not, and is sent again
                while instance.post(made) != 200:
                    with lock:
                        instance = running[-1]
                answered.append(made)
            with lock:
                is_missing = len(running) < 2
            if is_missing:
                started = stack.enter_context(cluster.serving(token))
                with lock:
                    running.append(started)
        assert has_all.wait(4 * TIMEOUT_SECONDS)

    assert killed
    told = without_repetitions(receiver.taken)
    assert sorted(file["filename"] for message in told for file in message.json["files"]) == sorted(
        made.filename for made in answered
    )
    assert len({(message.id, message.body) for message in receiver.taken}) == len(told) == total
    assert_in_order(receiver.taken)
    for project in ("demo", "other"):
        names = [
            file["filename"]
            for message in told
            for file in message.json["files"]
            if message.json["project"] == project
        ]
        wanted_names = [
            made.filename for made in answered if made.filename.startswith(f"{project}-")
        ]
        assert names == wanted_names
