"""What a protocol is called: words of anatomy, sequence and contrast stay, people's names go."""

from __future__ import annotations

from tests.answer_key.key import DESCRIPTORS, Action, Check
from tests.answer_key.maker import Maker
from tests.answer_key.naming import path_of

CATEGORY = "descriptors"
DESCRIBED = frozenset({DESCRIPTORS})

DESCRIPTIONS = (
    ("SeriesDescription", "t1_mprage_sag_p2_iso"),
    ("SeriesDescription", "T2 TSE tra"),
    ("SeriesDescription", "AX FLAIR"),
    ("SeriesDescription", "ep2d_diff_b1000_ADC"),
    ("SeriesDescription", "Thorax 3.0 B31f"),
    ("SeriesDescription", "Localizer"),
    ("SeriesDescription", "SAG T1 SE POST GAD"),
    ("SeriesDescription", "COR STIR Left Knee"),
    ("SeriesDescription", "DWI b0 b500 b1000"),
    ("SeriesDescription", "BONE 2.5mm Axial"),
    ("SeriesDescription", "resting state bold fMRI"),
    ("SeriesDescription", "3D TOF MRA"),
    ("SeriesDescription", "MIP coronal"),
    ("SeriesDescription", "Scout"),
    ("SeriesDescription", "gre_field_mapping"),
    ("SeriesDescription", "WB PET AC"),
    ("StudyDescription", "MRI BRAIN W/O CONTRAST"),
    ("StudyDescription", "CT Abdomen"),
    ("StudyDescription", "CT ABDOMEN AND PELVIS WITH CONTRAST"),
    ("StudyDescription", "MR Lumbar Spine"),
    ("StudyDescription", "Mammography bilateral"),
    ("ProtocolName", "Head routine"),
    ("ProtocolName", "Shoulder right"),
    ("ContrastBolusAgent", "Gadolinium 15 ml"),
    ("AcquisitionProtocolDescription", "Lung low dose 1.0 mm"),
    ("RequestedProcedureDescription", "CT chest with contrast"),
    ("PerformedProcedureStepDescription", "MR Liver"),
    ("AcquisitionDeviceProcessingDescription", "EDGE"),
)
"""As anywhere in the world."""

AROUND_NAMES = (
    ("StudyDescription", "MRI brain {}", ("MRI", "brain")),
    ("SeriesDescription", "t1_{}_sag", ("t1", "sag")),
    ("SeriesDescription", "{} CT chest with contrast", ("CT", "chest", "contrast")),
    ("ProtocolName", "Knee left {}", ("Knee", "left")),
    ("ContrastBolusAgent", "Gadolinium {}", ("Gadolinium",)),
)
"""Attribute, text with a name in it, and the words that are as useful as before."""


def add_descriptions(maker: Maker) -> None:
    for at, (keyword, text) in enumerate(DESCRIPTIONS):
        person = maker.cast.person()
        data_set = maker.instance(person, "CT" if "CT" in text or "Thorax" in text else "MR")
        setattr(data_set, keyword, text)
        path = path_of(keyword)
        file = maker.add(f"descriptions/{at:02d}.dcm", CATEGORY, data_set, person)
        file.checks += [
            Check(CATEGORY, Action.TEXT_RETAINED, path, text, only=DESCRIBED),
            Check(CATEGORY, Action.TEXT_REMOVED, path, text, without=DESCRIBED),
        ]
    _add_names_among_words(maker)
    _add_notes(maker)


def _add_names_among_words(maker: Maker) -> None:
    """The patient's name in one file, somebody else's in the other: no list has that one."""
    for at, (keyword, template, words) in enumerate(AROUND_NAMES):
        for whose in ("patient", "other"):
            person = maker.cast.person()
            name = person.texts[0]
            if whose == "other":
                name = maker.hidden(maker.cast.word(), CATEGORY)
            data_set = maker.instance(person, **{keyword: template.format(name)})
            file = maker.add(f"descriptions/{whose}-{at}.dcm", CATEGORY, data_set, person)
            file.checks += [
                Check(CATEGORY, Action.WORD_RETAINED, path_of(keyword), word, only=DESCRIBED)
                for word in words
            ]


def _add_notes(maker: Maker) -> None:
    person, cast = maker.cast.person(), maker.cast
    words = [maker.hidden(cast.word(), CATEGORY) for _ in range(3)]
    data_set = maker.instance(
        person,
        StudyDescription=f"MRI for Mrs {person.texts[0].lower()}",
        SeriesDescription=f"{person.texts[1].upper()}_{words[0].lower()}_t2",
        ProtocolName=f"Protocol of Dr {words[1]}",
        ImageComments=f"{words[2]}, tel 044 {maker.hidden(cast.digits(7), CATEGORY)}",
        RequestedProcedureDescription=f"see {maker.hidden(cast.digits(8), CATEGORY)}",
        AcquisitionComments=f"seen {maker.hidden(cast.date(1986, 1990), CATEGORY)}",
        ContrastBolusAgent=f"Gadolinium{maker.hidden(cast.word(), CATEGORY)}",
    )
    maker.add("descriptions/with-names.dcm", CATEGORY, data_set, person)
