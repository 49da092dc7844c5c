"""A PACS in one process that can be told to misbehave: for tests, and for operators' trials.

C-ECHO, and C-FIND, C-MOVE and C-GET of the Study Root model, over real sockets. `behaviour` says
what can go wrong, `finding` answers C-FIND by `find_rules`, `sending` serves C-MOVE and C-GET,
`server` holds the port, `datasets` makes images, `wishes` reads what an operator asked for.
"""

from pacstream_cli.fake_pacs.behaviour import Behaviour
from pacstream_cli.fake_pacs.server import FakePacs, Request

__all__ = ["Behaviour", "FakePacs", "Request"]
