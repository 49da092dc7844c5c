"""How a fake PACS misbehaves, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

ALWAYS = 1_000_000
"""For the number of times that something happens."""


@dataclass(frozen=True)
class Behaviour:
    """How a FakePacs misbehaves; nothing by default."""

    # C-FIND

    ignore_keys: frozenset[str] = frozenset()
    """Neither matched nor returned by C-FIND."""
    unmatched_keys: frozenset[str] = frozenset()
    """Returned by C-FIND, not matched."""
    refuse_levels: Mapping[str, int] = field(default_factory=dict)
    """C-FIND level -> failure status."""
    relational: bool = True
    """Without: SERIES needs a StudyInstanceUID, IMAGE both UIDs, or 0xA900."""
    hide_study_uid: bool = False
    """A SERIES query without StudyInstanceUID is answered without one."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """C-FIND level -> number of answers after which it ends with `limit_status`."""
    limit_status: int = 0xB001
    """0x0000: it hides that there are more."""
    stray_answers: Mapping[str, tuple[Dataset, ...]] = field(default_factory=dict)
    """C-FIND level -> answers sent besides the right ones."""
    other_levels: bool = False
    """Answers hold keys of the levels below too, and one answer of another level comes first."""
    duplicate_answers: bool = False
    omit_charset: bool = False
    """C-FIND answers keep their bytes but lose SpecificCharacterSet."""
    answer_charset: str = ""
    """C-FIND answers are encoded in this character set, whatever the images have."""
    invalid_utf8: bool = False
    """Names and descriptions in C-FIND answers hold bytes that UTF-8 does not allow."""
    find_delay_s: float = 0.0
    abort_finds: int = 0
    """Number of first C-FINDs that end in an abort of the association."""

    # Counts, in C-FIND answers and of sub-operations

    omit_counts: bool = False
    """No NumberOf...Related... in C-FIND, no sub-operation counters in C-MOVE and C-GET."""
    count_error: int = 0
    """Added to the number of instances in C-FIND and of completed sub-operations."""

    # C-MOVE and C-GET

    only: frozenset[str] = frozenset()
    """Series to whose C-MOVEs and C-GETs the rest applies; empty: to all."""
    drop: Mapping[str, int] = field(default_factory=dict)
    """SOP Instance UID -> how many times it is not sent though counted as completed."""
    drop_every: int = 0
    """Of each request every n-th instance is not sent though counted as completed."""
    withhold_every: int = 0
    """Of each series every n-th instance is never sent though counted as completed."""
    unsent_status: int | None = None
    """What is not sent is counted as failed, and this status ends the request: 0xB000 is honest,
    0x0000 is not."""
    empty_success: bool = False
    """Nothing is sent, the status is Success."""
    fail_moves: int = 0
    """Number of first requests answered with `fail_status`."""
    fail_status: int = 0xA702
    abort_after: int | None = None
    """Abort the association of the request after this many instances, `abort_times` times."""
    abort_times: int = 1
    stall_after: int | None = None
    """After this many instances nothing comes any more; the association stays open."""
    send_foreign: Dataset | None = None
    """An instance sent at the end of each request, not counted."""
    send_twice: bool = False
    """The first instance of each request is sent again with other pixels, not counted."""
    compress: bool = False
    """All instances are RLE Lossless (1.2.840.10008.1.2.5) and nothing else is proposed."""
    move_delay_s: float = 0.0
    """Before each instance."""
    ignore_cancel: bool = False

    # Everything

    slow: float = 1.0
    """Each answer and each instance takes this many times as long as it would."""
    check_called_aet: bool = False
    busy_associations: int = 0
    """Number of first associations refused: transient, local limit exceeded."""
    refuse_after: int | None = None
    """After this many associations the next `refuse_times` are refused, and so on in turn."""
    refuse_times: int = 3
    max_associations: int = 50
    """At once; further ones are refused: transient, local limit exceeded."""
    network_loss_after: int | None = None
    """Once, after this many instances of a request: all connections end, the port is closed."""
    network_loss_s: float = 20.0
    """Until the port is open again."""
