"""Every message on the bus: a frozen pydantic class with its topic on it.

A new field gets a default, a new meaning gets a new message: during a roll-out both versions are
on the wire, so consumers ignore what they do not know. `docs/flow.md` has the table; a test
compares it with this file.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Evidence = Literal["uids", "count", "move", "none"]
"""How we know what a series holds: IMAGE-level C-FIND, a related-instances count, or the C-MOVE."""


class Part(BaseModel):
    """A value inside messages."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(Part):
    """A fact or a request. `topic` is its routing key."""

    topic: ClassVar[str]
    schema_version: ClassVar[int] = 1
    announcement: ClassVar[bool] = False
    """An announcement is for whoever binds a queue to it; it may have no consumer at all."""

    @property
    def correlation_id(self) -> str:
        """The batch it belongs to, or empty."""
        return str(getattr(self, "batch_id", ""))

    @property
    def message_id(self) -> str:
        """Deterministic: the same fact always has the same id, and the id tells nothing of it."""
        text = f"{self.topic} {self.schema_version} {self.model_dump_json()}"
        return hashlib.blake2s(text.encode(), digest_size=16).hexdigest()

    def payload(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def parse(cls, body: bytes | str) -> Self:
        return cls.model_validate_json(body)


class PacsProfile(Part):
    """What is known of a PACS's ways. `pacstream doctor` finds it out and writes it as TOML."""

    source: Literal["dimse", "dicomweb"] = Field(
        default="dimse", description="how it is asked: C-FIND, or QIDO-RS at web_url"
    )
    retrieve: Literal["c-move", "c-get", "wado-rs"] = Field(
        default="c-move", description="how its images come"
    )
    web_url: str = Field(default="", description="DICOMweb base URL")
    relational: bool = Field(
        default=False, description="finds a SeriesInstanceUID without its StudyInstanceUID"
    )
    unsupported_keys: tuple[str, ...] = Field(
        default=(), description="C-FIND keys that it ignores or refuses: matched here"
    )
    result_limit: int | None = Field(
        default=None, ge=1, description="C-FIND answers after which it stops in silence"
    )
    counts: bool = Field(default=True, description="tells NumberOfSeriesRelatedInstances")
    image_level: bool = Field(default=True, description="lists SOP Instance UIDs by C-FIND")
    uid_lists: bool = Field(default=True, description="takes lists of UIDs in C-MOVE and C-GET")
    cancels: bool = Field(default=True, description="heeds C-CANCEL")
    move_works: bool = Field(default=True, description="delivers by C-MOVE to our store SCP")


class PacsNode(Part):
    """A PACS and the titles used with it (PS3.8 section 9.3.2: called and calling AE title)."""

    address: str
    port: int = Field(ge=1, le=65535)
    called_aet: str = Field(min_length=1, max_length=16)
    calling_aet: str = Field(min_length=1, max_length=16)
    profile: PacsProfile = PacsProfile()
    fallback: PacsNode | None = Field(
        default=None, description="a second archive that holds the same images"
    )


class Actions(Part):
    """What a user asked to be done with what the rows match."""

    info: bool = False
    save: bool = False
    anonymize: bool = False
    convert: bool = False
    move: bool = False

    @property
    def retrieves(self) -> bool:
        """Instances come to our own store SCP."""
        return self.save or self.anonymize or self.convert


Pseudonym = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{0,64}$")]
"""What a user wants a patient to be called in a release (`new_ids`); empty: the project key's."""

KeyId = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,3})?$")]
"""Which of its project's keys a batch uses; empty, from an older sender: the first."""

ProfileDigest = Annotated[str, Field(pattern=r"^([0-9a-f]{32,64})?$")]
"""The project profile that holds for a batch; empty, from an older sender: `research`."""


class Dates(StrEnum):
    """What a release does with dates: so does the name of a session's folder."""

    SHIFTED = "shifted"
    KEPT = "kept"
    REMOVED = "removed"


BATCH_ID = r"^[A-Za-z0-9-]{4,40}$"
"""It is part of paths in the trusted zone."""

ActionName = Literal["info_table", "bids", "karnak", "dicomdir", "export"]


class BatchAction(Part):
    """What is to be done once with all that a batch has delivered. No secrets: it is on the bus."""

    name: ActionName
    options: dict[str, str] = Field(default_factory=dict)


class Batch(Part):
    """One submitted CSV."""

    batch_id: str = Field(pattern=BATCH_ID)
    rows: int = Field(ge=1)
    submitted_at: str
    pacs: PacsNode
    destination: str = Field(min_length=1, max_length=16, description="C-MOVE destination AE title")
    destination_node: PacsNode | None = Field(
        default=None, description="where the destination of a --move answers C-FIND"
    )
    actions: Actions
    project: str = ""
    out: str
    batch_size: int = Field(default=0, ge=0, description="series between two pauses; 0: no pauses")
    batch_wait_s: float = Field(default=0.0, ge=0)
    priority: int = Field(default=0, ge=-9, le=9, description="higher goes first")
    refresh: bool = Field(default=False, description="fetch again what is here already")
    pacsman_names: bool = Field(default=False, description="PatientName as PACSMAN reads it")
    name: str = Field(default="", description="what the report calls it: the CSV's file name")
    profile: ProfileDigest = ""
    key_id: KeyId = ""
    dates: Dates = Dates.SHIFTED
    afterwards: tuple[BatchAction, ...] = Field(
        default=(), description="done in this order when every series has its last state"
    )


class Series(Part):
    """What a PACS told of one series; names the folders of PACSMAN's layout."""

    study_uid: str
    series_uid: str
    patient_id: str = ""
    study_date: str = ""
    study_time: str = ""
    number: str = ""
    modality: str = ""
    description: str = ""


class Order(Part):
    """Why a series is fetched for one batch, and where its products go.

    `folder` and `release_folder` are the last path components, made unique by the ledger: no two
    series and no two patients ever share one.
    """

    batch_id: str = Field(pattern=BATCH_ID)
    series: Series
    actions: Actions
    project: str = ""
    out: str
    subject: str = Field(description="sub-… folder of the originals")
    session: str = Field(description="ses-… folder of the originals")
    folder: str = Field(description="series folder of the originals")
    release_folder: str = Field(description="series folder of the release, free of descriptions")
    pseudonym: Pseudonym = ""
    profile: ProfileDigest = ""
    key_id: KeyId = ""
    dates: Dates = Dates.SHIFTED


class QueryRequested(Message):
    """One CSV row is to be looked up. Keys are DICOM keywords with the cell's text."""

    topic = "query.requested"
    batch: Batch
    row: int = Field(ge=1, description="row in the CSV, the header is row 1")
    keys: dict[str, str]
    pseudonym: Pseudonym = ""

    @property
    def correlation_id(self) -> str:
        return self.batch.batch_id


class SeriesFound(Message):
    """A row matches this series; `expected` is the list of its SOP Instance UIDs if known."""

    topic = "series.found"
    batch_id: str
    row: int
    series: Series
    attributes: dict[str, str] = Field(default_factory=dict)
    expected: tuple[str, ...] = ()
    expected_count: int | None = None
    evidence: Evidence = "none"
    pseudonym: Pseudonym = Field(default="", description="what the row gives its patient")


class QueryAnswered(Message):
    """All answers for a row are in (or none will come: `reason` is not empty)."""

    topic = "query.answered"
    batch_id: str
    row: int
    series_uids: tuple[str, ...] = Field(default=(), description="from a sender without `series`")
    reason: str = ""
    series: int | None = Field(
        default=None,
        ge=0,
        description="distinct series, each of which "
        "comes as a series.found; None: those that series_uids lists",
    )

    @property
    def announced(self) -> int:
        """So many distinct series come as series.found."""
        return len(set(self.series_uids)) if self.series is None else self.series


class SeriesRequested(Message):
    """A series, or the instances of it that are still missing, is to be moved."""

    topic = "series.requested"
    batch_id: str
    pacs: PacsNode
    destination: str
    order: Order
    instances: tuple[str, ...] = Field(default=(), description="empty: the whole series")
    round: int = Field(default=0, ge=0)


class SeriesMoved(Message):
    """The C-MOVE has ended. Counters are None where the PACS sent none (PS3.4 C.4.2.1.6)."""

    topic = "series.moved"
    batch_id: str
    series_uid: str
    round: int
    status: int | None = Field(default=None, description="last DIMSE status; None: no answer")
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    remaining: int | None = None
    reason: str = Field(default="", description="empty: the PACS reported success")
    seconds: float = 0.0


class ListingRequested(Message):
    """The destination of a --move is to be asked which instances of a series it has."""

    topic = "listing.requested"
    batch_id: str
    node: PacsNode
    study_uid: str
    series_uid: str
    round: int = Field(ge=0, description="the C-MOVE after which it is asked")
    number: int = Field(ge=1, description="how often it is asked after that C-MOVE")


class SeriesListed(Message):
    """What the destination of a --move says that it has of a series."""

    topic = "series.listed"
    batch_id: str
    series_uid: str
    round: int
    number: int
    instances: tuple[str, ...] = Field(default=(), description="SOP Instance UIDs")
    reason: str = Field(default="", description="not empty: it gave no list, or not a whole one")


class ReceivedInstance(Part):
    """One durable file: `path` is relative to the trusted zone."""

    sop_instance_uid: str
    path: str
    size: int = Field(ge=0, description="bytes of the file")


class InstancesReceived(Message):
    """A group of instances of one series is durable in the incoming zone."""

    topic = "instances.received"
    batch_id: str
    study_uid: str
    series_uid: str
    instances: tuple[ReceivedInstance, ...]


class DeidentifyRequested(Message):
    """Instances that were here before the order came are to be de-identified for it."""

    topic = "deidentify.requested"
    batch_id: str
    order: Order
    instances: tuple[str, ...]


class InstancesDeidentified(Message):
    """These instances (named by their original UIDs) are in the release."""

    topic = "instances.deidentified"
    batch_id: str
    series_uid: str
    instances: tuple[str, ...]
    waived: tuple[str, ...] = Field(
        default=(), description="reasons that an operator's decision has set aside for them"
    )


class WithheldInstance(Part):
    sop_instance_uid: str
    reason: str


class InstancesWithheld(Message):
    """These instances stay in quarantine, each with a reason code."""

    topic = "instances.withheld"
    batch_id: str
    series_uid: str
    instances: tuple[WithheldInstance, ...]


class SeriesReceived(Message):
    """Every expected instance of the series is durable: the originals are complete."""

    topic = "series.received"
    batch_id: str
    order: Order
    instances: tuple[str, ...]


class InfoRequested(Message):
    """The info table of a series is to be written beside its folder."""

    topic = "info.requested"
    batch_id: str
    order: Order
    attributes: dict[str, str]


class InfoWritten(Message):
    topic = "info.written"
    batch_id: str
    series_uid: str


class SeriesExported(Message):
    """The originals lie in the user's folder, in PACSMAN's layout."""

    topic = "series.exported"
    batch_id: str
    series_uid: str
    instances: int


ConversionState = Literal[
    "converted",
    "converted_with_warnings",
    "incomplete",
    "not_an_image",
    "withheld",
    "unsupported",
    "failed",
]


class SeriesConverted(Message):
    """dcm2niix has ended for a series; `products` are paths relative to the batch's folder."""

    topic = "series.converted"
    batch_id: str
    series_uid: str
    state: ConversionState
    reason: str = ""
    products: tuple[str, ...] = ()
    slices_expected: int = Field(default=0, ge=0, description="in the originals that are images")
    slices_converted: int = Field(default=0, ge=0, description="in all volumes")
    slices_missing: int = Field(default=0, ge=0, description="lost before, as far as is known")
    excluded: dict[str, int] = Field(
        default_factory=dict, description="instances without a part in it, by reason"
    )


class ActionRequested(Message):
    """A batch action is to be done, or gone on with. `step` is its place in Batch.afterwards."""

    topic = "action.requested"
    batch_id: str = Field(pattern=BATCH_ID)
    step: int = Field(ge=0)
    part: int = Field(default=0, ge=0, description="grows whenever the action is asked for again")
    action: BatchAction
    manifest: str = Field(description="path in the trusted zone: what the batch has delivered")


class ActionFinished(Message):
    """A batch action has come to an end, or to the end of the time that one message may take."""

    topic = "action.finished"
    batch_id: str
    step: int
    part: int
    state: Literal["done", "failed", "going_on"]
    reason: str = ""
    counts: dict[str, int] = Field(default_factory=dict, description="what went in, out, aside")


class WorkFailed(Message):
    """A message became a dead letter: `queue` has it, `reason` is a code, never a value."""

    topic = "work.failed"
    batch_id: str = ""
    queue: str
    failed_topic: str
    failed_message_id: str = ""
    reason: str
    row: int | None = None
    series_uid: str = ""
    step: int | None = None


class SeriesComplete(Message):
    """All that was asked of one series is done."""

    topic = "series.complete"
    announcement = True
    batch_id: str
    series_uid: str
    state: str


class BatchFinished(Message):
    """Every row and series of the batch has reached its last state."""

    topic = "batch.finished"
    batch_id: str
    delivered: bool = Field(description="all that was asked for is there")
    series: dict[str, int] = Field(description="number of series in each state")
    rows: dict[str, int] = Field(description="number of rows in each state")


MESSAGES: tuple[type[Message], ...] = (
    QueryRequested,
    SeriesFound,
    QueryAnswered,
    SeriesRequested,
    SeriesMoved,
    ListingRequested,
    SeriesListed,
    InstancesReceived,
    DeidentifyRequested,
    InstancesDeidentified,
    InstancesWithheld,
    SeriesReceived,
    InfoRequested,
    InfoWritten,
    SeriesExported,
    SeriesConverted,
    ActionRequested,
    ActionFinished,
    WorkFailed,
    SeriesComplete,
    BatchFinished,
)
