"""The whole folder of a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import config

from tests.answer_key.cast import Cast
from tests.answer_key.damage import add_damage
from tests.answer_key.descriptions import add_descriptions
from tests.answer_key.disguises import add_disguises
from tests.answer_key.headers import add_headers
from tests.answer_key.key import AnswerKey
from tests.answer_key.maker import Maker
from tests.answer_key.modalities import add_modalities
from tests.answer_key.objects import add_objects
from tests.answer_key.patients import add_patients
from tests.answer_key.pixel_data import add_pixel_data
from tests.answer_key.private_blocks import add_private_blocks
from tests.answer_key.safe_rows import add_safe_rows
from tests.answer_key.stream_texts import add_stream_texts
from tests.answer_key.table_rows import add_table_rows


@contextmanager
def anything_goes() -> Iterator[None]:
    """pydicom writes what it is given: half of the files are what no writer should write."""
    before = config.replace_un_with_known_vr
    config.replace_un_with_known_vr = False
    try:
        with config.disable_value_validation():
            yield
    finally:
        config.replace_un_with_known_vr = before


def generate(folder: Path, seed: int) -> AnswerKey:
    """Write all files below `folder`; their key. Another seed gives other names and numbers."""
    maker = Maker(folder, Cast(seed))
    with anything_goes():
        for add in (
            add_table_rows,
            add_headers,
            add_descriptions,
            add_private_blocks,
            add_safe_rows,
            add_disguises,
            add_pixel_data,
            add_stream_texts,
            add_objects,
            add_modalities,
            add_patients,
            add_damage,
        ):
            add(maker)
    return maker.key
