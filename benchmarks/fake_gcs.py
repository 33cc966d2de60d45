"""The fake GCS server as a process: prints its URL, and runs until SIGTERM."""

import signal
import sys

from tests.fake_gcs.server import running_fake_gcs


def main() -> None:
    """Serve the buckets that the command line names until SIGTERM; print the URL."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # so that it is waited for below
    with running_fake_gcs(*sys.argv[1:]) as server:
        print(server.url, flush=True)
        signal.sigwait([signal.SIGTERM])


if __name__ == "__main__":
    main()
