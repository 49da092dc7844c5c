"""What would become of one file, element by element, and which rule says so.

It is released for trial, by the engine itself and with a key that nobody keeps.
"""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.durable import FileGroup
from pacstream.errors import InputError
from pacstream.keys import KEY_BYTES
from pacstream.pseudonyms import ProjectKey
from pacstream_anonymizer import triage
from pacstream_anonymizer.blackout import Blackout, blackout_of
from pacstream_anonymizer.cleaner import Told
from pacstream_anonymizer.deidentifier import Release, Withheld, read_original
from pacstream_anonymizer.profile import Profile
from pacstream_anonymizer.refusal import Refusal
from pacstream_anonymizer.signature import Signature
from pacstream_anonymizer.triage import Wanted


@dataclass
class Explanation:
    """`reason` is empty if the file would be released. `told` ends where it was withheld.
    `signature` is None for a file that can't be read; `blackout` is what is blacked out in it."""

    reason: str = ""
    told: list[Told] = field(default_factory=list, repr=False)
    signature: Signature | None = None
    blackout: Blackout | None = None


def explain(source: Path, profile: Profile) -> Explanation:
    """Raises InputError if the file can't be read."""
    try:
        content = source.read_bytes()
    except OSError as error:
        raise InputError(f"{source}: can't be read ({type(error).__name__})") from None
    explanation = Explanation()
    try:
        original = read_original(content)
        identity = triage.identity_of(original.elements)
        explanation.signature = Signature.of(original.elements, original.encoding)
        explanation.blackout = blackout_of(
            original.elements, original.encoding, profile, identity.sop_class_uid
        )
    except Refusal as refusal:
        explanation.reason = refusal.reason
        return explanation

    with tempfile.TemporaryDirectory() as folder, FileGroup() as files:
        release = Release(
            Wanted(identity.study_uid, identity.series_uid, identity.patient_id),
            ProjectKey(secrets.token_bytes(KEY_BYTES)),
            lambda _: Path(folder),
            files,
            profile=profile,
            trail=lambda accounts: explanation.told.extend(
                told for account in accounts for told in account.told
            ),
        )
        result = release.add(source)
    if isinstance(result, Withheld):
        explanation.reason = result.reason
    return explanation
