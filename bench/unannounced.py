"""`python -m bench.unannounced`: the store SCP, but what it commits is never announced.

All else is the service itself, group commit and the making of messages included; the difference to
`python -m pacstream_store_scp` is what the events cost.
"""

from __future__ import annotations

import sys
from unittest import mock

from pacstream.messages import Message
from pacstream.publisher import Publisher
from pacstream_store_scp import worker
from pacstream_store_scp.__main__ import main


class SilentPublisher(Publisher):
    """Confirms everything and sends nothing."""

    def connect(self) -> None:
        return

    def publish(self, message: Message) -> None:
        return


if __name__ == "__main__":
    with mock.patch.object(worker, "Publisher", SilentPublisher):
        sys.exit(main())
