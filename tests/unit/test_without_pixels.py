"""What never looks at pixels does not load what decodes them, and the rest is as ever."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from pacstream.without_pixels import OPTIONAL
from pacstream_cli.main import COMMANDS, NO_PIXELS


def python(code: str) -> Any:
    """What `code` leaves in `told`, in a fresh interpreter."""
    command = [sys.executable, "-c", f"import json, sys\n{code}\nprint(json.dumps(told))"]
    return json.loads(subprocess.check_output(command, text=True))


@pytest.mark.parametrize(
    "command", sorted(name for name, module in COMMANDS.items() if module in NO_PIXELS)
)
def test_commands_that_talk_to_a_pacs_load_nothing_for_pixels(command: str) -> None:
    loaded = python(
        "from pacstream_cli.main import pacstream\n"
        f"pacstream.get_command(None, {command!r})\n"
        "told = sorted(name for name, module in sys.modules.items() if '.' not in name)"
    )
    assert "pydicom" in loaded
    assert not {"numpy", "PIL", "gdcm", "tqdm"} & set(loaded)


@pytest.mark.parametrize("service", ["query", "store_scp"])
def test_services_that_talk_to_a_pacs_do_neither(service: str) -> None:
    """Of retrieve, `requests` is needed for WADO-RS; it brings none of the others."""
    module = {"query": "pacstream_query.finder", "store_scp": "pacstream_store_scp.process"}[
        service
    ]
    loaded = python(
        "from pacstream.without_pixels import load_pydicom\n"
        f"load_pydicom()\nimport {module}\ntold = sorted(sys.modules)"
    )
    assert not set(OPTIONAL) & set(loaded)


def test_others_import_what_was_hidden_as_ever() -> None:
    told = python(
        "from pacstream.without_pixels import load_pydicom\n"
        "load_pydicom()\n"
        "import numpy, requests\n"
        "told = [int(numpy.arange(4).sum()), requests.codes.ok]"
    )
    assert told == [6, 200]


def test_data_sets_are_written_and_read_without_it() -> None:
    told = python(
        "from pacstream.without_pixels import load_pydicom\n"
        "load_pydicom()\n"
        "from io import BytesIO\n"
        "from pydicom import dcmread\n"
        "from pydicom.dataset import Dataset\n"
        "one = Dataset()\n"
        "one.PatientName, one.PixelSpacing, one.PixelData = 'A^B', [0.5, 0.25], bytes(4)\n"
        "one['PixelData'].VR = 'OW'\n"
        "file = BytesIO()\n"
        "one.save_as(file, implicit_vr=False, little_endian=True)\n"
        "again = dcmread(BytesIO(file.getvalue()), force=True)\n"
        "told = [str(again.PatientName), [float(n) for n in again.PixelSpacing],"
        " len(again.PixelData)]"
    )
    assert told == ["A^B", [0.5, 0.25], 4]


def test_who_looks_at_pixels_has_what_it_needs() -> None:
    told = python(
        "from pacstream_cli.main import pacstream\n"
        "pacstream.get_command(None, 'anonymize')\n"
        "import pydicom.pixels.decoders.base as base\n"
        "told = bool(base.HAVE_NP)"
    )
    assert told is True
