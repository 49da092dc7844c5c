"""No output is worse DICOM than its input, in the eyes of dciodvfy (dicom3tools)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.answer_key.engines import ours
from tests.answer_key.generate import generate
from tests.answer_key.key import PROFILES, AnswerKey
from tests.answer_key.outputs import matched, outputs_below

PLAIN = ("modalities", "references", "multi-frame", "waveform", "syntaxes")
"""Files that nobody has bent."""
UNREADABLE = "syntaxes/deflated.dcm"
"""The wheel's dciodvfy is built without zlib."""
DCIODVFY = Path(sys.executable).with_name("dciodvfy")


def errors_of(path: Path) -> Counter[str]:
    done = subprocess.run(
        [DCIODVFY, path], capture_output=True, text=True, errors="replace", check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    return Counter(line.strip() for line in lines if line.startswith("Error"))


@pytest.fixture(scope="module")
def plain_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AnswerKey]:
    everything, plain = (tmp_path_factory.mktemp(name) for name in ("all", "plain"))
    key = generate(everything, seed=5)
    for name in PLAIN:
        shutil.copytree(everything / name, plain / name)
    (plain / UNREADABLE).unlink()
    return plain, key


def test_no_output_has_an_error_that_its_input_has_not(
    plain_files: tuple[Path, AnswerKey], tmp_path: Path
) -> None:
    """All profiles in one test: what dciodvfy says of an input is asked once."""
    plain, key = plain_files
    names = [str(path.relative_to(plain)) for path in plain.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(2) as pool:
        before = dict(
            zip(names, pool.map(errors_of, (plain / name for name in names)), strict=True)
        )
        for profile, options in PROFILES.items():
            released = tmp_path / profile
            released.mkdir()
            ours(plain, released, options)
            outputs = matched(key, outputs_below(released))
            assert outputs.keys() == before.keys()
            paths = [released / outputs[name].path for name in names]
            after = dict(zip(names, pool.map(errors_of, paths), strict=True))
            worse = {name: after[name] - before[name] for name in names}
            assert {name: errors for name, errors in worse.items() if errors} == {}, profile


def test_dciodvfy_sees_an_image_without_its_type_1_attributes(
    plain_files: tuple[Path, AnswerKey], tmp_path: Path
) -> None:
    path = plain_files[0] / "modalities" / "positron.dcm"
    content = path.read_bytes()
    damaged = tmp_path / "damaged.dcm"
    damaged.write_bytes(content.replace(b"\x54\x00\x01\x10CS", b"\x54\x00\x01\x1fCS"))
    assert content != damaged.read_bytes()
    assert errors_of(damaged) - errors_of(path)
