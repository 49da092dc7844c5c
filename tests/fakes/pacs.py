"""The fake PACS that pacstream ships (`pacstream fake-pacs`)."""

from pacstream_cli.fake_pacs.behaviour import ALWAYS, Behaviour
from pacstream_cli.fake_pacs.server import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    FakePacs,
    Request,
)

__all__ = [
    "ALWAYS",
    "STUDY_ROOT_FIND",
    "STUDY_ROOT_GET",
    "STUDY_ROOT_MOVE",
    "Behaviour",
    "FakePacs",
    "Request",
]
