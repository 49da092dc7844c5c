from __future__ import annotations

import pytest

from pacstream_converter.bids import schema
from pacstream_converter.bids.facts import DESCRIPTIONS
from pacstream_converter.bids.rules import Kind, kind_of, number_label
from pacstream_converter.bids.rules_file import default_rules, parse_rules


def default_kind(**values: str) -> Kind | None:
    """By the default rules; `\\` parts values as in DICOM."""
    found = {"Modality": "MR", "Volumes": "1", **values}
    told = {name: tuple(text.split("\\")) for name, text in found.items() if text}
    told["Description"] = tuple(one for name in DESCRIPTIONS for one in told.get(name, ()))
    return kind_of(told, default_rules(), schema.entity_order())


def place(kind: Kind | None) -> str:
    if kind is None:
        return "unmatched"
    entities = "".join(f"{name}-{value}_" for name, value in kind.entities)
    return f"{kind.rule.folder}/{entities}{kind.rule.suffix}"


@pytest.mark.parametrize(
    ("expected", "description", "others"),
    [
        # localisers
        ("scout/scout", "AAHead_Scout_64ch", ""),
        ("scout/scout", "Survey_32ch", ""),
        ("scout/scout", "3-Plane Loc SSFSE", ""),
        ("scout/scout", "x", "ImageType=ORIGINAL\\PRIMARY\\LOCALIZER"),
        ("scout/scout", "", "Modality=CT; ImageType=ORIGINAL\\PRIMARY\\LOCALIZER"),
        # anatomy
        ("anat/acq-mprage_T1w", "t1_mprage_sag_p2_iso", ""),
        ("anat/acq-mprage_T1w", "Sag 3D BRAVO", ""),
        ("anat/T1w", "s3DI_MC_HR T1 TFE", ""),
        ("anat/T1w", "T1 cor", ""),
        ("anat/acq-vibe_T1w", "T1 VIBE pre", ""),
        ("anat/acq-vibe_ce-agent_T1w", "T1 VIBE/post 20min", ""),
        ("anat/acq-tse_ce-agent_T1w", "t1_tse_tra", "ContrastBolusAgent=Gadovist"),
        ("anat/acq-tse_T1w", "t1_tse_tra", "ContrastBolusAgent=NONE"),
        ("anat/acq-flair_T1w", "Sag T1 FLAIR", ""),
        ("anat/acq-mprage_echo-2_T1w", "memprage", "Echo=2"),
        ("anat/T2w", "t2_tse_tra_448", ""),
        ("anat/acq-space_T2w", "t2_space_sag", ""),
        ("anat/acq-haste_T2w", "T2 HASTE", ""),
        ("anat/FLAIR", "t2_space_flair_sag", ""),
        ("anat/FLAIR", "t2_tirm_tra_dark-fluid", ""),
        ("anat/FLAIR", "VWIP 3D Brain View FLAIR", ""),
        ("anat/T2starw", "t2_fl2d_tra_hemo", ""),
        ("anat/T2starw", "Ax T2* GRE", ""),
        ("anat/echo-3_MEGRE", "qsm_gre", "Echo=3"),
        ("anat/PDw", "PD FS sag", ""),
        ("anat/PDw", "pd+t2_tse_tra", "EchoTime=11"),
        ("anat/T2w", "pd+t2_tse_tra", "EchoTime=101"),
        ("anat/inplaneT1", "T1 inplane", ""),
        ("anat/inplaneT2", "in-plane anatomical", ""),
        ("anat/angio", "TOF_3D_multi-slab", ""),
        ("reformatted/reformatted", "TOF", "ImageType=DERIVED\\SECONDARY\\MIP"),
        ("anat/T1map", "mp2rage_T1_Images", ""),
        ("anat/UNIT1", "mp2rage_UNI_Images", ""),
        ("anat/rec-denoised_UNIT1", "mp2rage_UNI-DEN", ""),
        ("anat/inv-1_MP2RAGE", "mp2rage_INV1", ""),
        ("anat/inv-2_part-phase_MP2RAGE", "mp2rage_INV2", "Part=phase"),
        ("anat/acq-swi_T2starw", "Mag_Images", "ProtocolName=swi3d; Part=mag"),
        ("anat/acq-swi_part-phase_T2starw", "Pha_Images", "ProtocolName=swi3d; Part=phase"),
        ("swi/swi", "SWI_Images", "ProtocolName=swi3d"),
        ("swi/swi", "swi_minIP", ""),
        # names that tell nothing
        (
            "anat/T1w",
            "Kopf 4",
            "ScanningSequence=GR\\IR; MRAcquisitionType=3D; InversionTime=900; EchoTime=3",
        ),
        ("anat/FLAIR", "x", "ScanningSequence=SE\\IR; InversionTime=2500; EchoTime=110"),
        ("anat/T2w", "x", "ScanningSequence=SE; RepetitionTime=4000; EchoTime=90"),
        ("unmatched", "x", "ScanningSequence=SE; RepetitionTime=4000"),
        # function
        ("func/task-rest_bold", "RS-fMRI", "Volumes=200"),
        ("func/task-nback_echo-2_bold", "bold nback", "Volumes=200; Echo=2"),
        ("func/task-faces_part-phase_bold", "func_faces", "Volumes=9; Part=phase"),
        (
            "func/task-rest_rec-moco_bold",
            "MoCoSeries",
            "ProtocolName=bold_rest; Volumes=9; ImageType=ORIGINAL\\PRIMARY\\M\\MOCO",
        ),
        (
            "func/task-unknown_bold",
            "paradigm 7",
            "ScanningSequence=EP\\GR; Volumes=120; EchoTime=30; RepetitionTime=2500",
        ),
        ("func/task-motor_sbref", "bold_finger_tapping_SBRef", ""),
        ("unmatched", "bold_rest", ""),
        # diffusion
        ("dwi/dir-AP_dwi", "ep2d_diff_mddw", "Gradients=yes; PhaseEncoding=AP"),
        ("dwi/dwi", "DWI b1000", ""),
        ("dwi/dir-PA_sbref", "cmrr_mbep2d_diff_SBRef", "PhaseEncoding=PA"),
        ("dwi/ADC", "ep2d_diff_ADC", "ImageType=DERIVED\\PRIMARY\\DIFFUSION\\ADC"),
        ("dwi/trace", "ep2d_TRACEW", "ImageType=DERIVED\\PRIMARY\\DIFFUSION\\TRACEW"),
        ("dwi/FA", "ep2d_FA", "ImageType=DERIVED\\PRIMARY\\DIFFUSION\\FA"),
        ("diffusion/dwi", "DTI_32", "Gradients=yes; Product=ADC"),
        # field maps: Siemens, GE, Philips, opposed
        ("fmap/magnitude1", "gre_field_mapping", "Echo=1; Part=mag"),
        ("fmap/magnitude2", "gre_field_mapping", "Echo=2; Part=mag"),
        ("fmap/phasediff", "gre_field_mapping", "Part=phase"),
        ("fmap/phase1", "fieldmap", "Part=phase; Echo=1"),
        ("fmap/phase2", "fieldmap", "Part=phase; Echo=2"),
        ("fmap/fieldmap", "B0 map", "Product=fieldmaphz; Products=fieldmaphz"),
        ("fmap/magnitude", "B0 map", "Products=fieldmaphz"),
        ("fmap/dir-PA_epi", "SpinEchoFieldMap_PA", "ScanningSequence=EP\\SE"),
        ("fmap/dir-AP_epi", "topup PA", "ScanningSequence=EP; PhaseEncoding=AP"),
        # perfusion, PET, CT
        ("perf/asl", "3D PCASL", "Volumes=60"),
        ("perf/m0scan", "pcasl_m0", ""),
        ("perfmap/perfmap", "pcasl_CBF", "ImageType=DERIVED\\PRIMARY"),
        ("dsc/dsc", "ep2d_perf", "Volumes=60; ScanningSequence=EP\\GR"),
        (
            "pet/trc-FDG_rec-ac_pet",
            "",
            "Modality=PT; Radiopharmaceutical=Fluorodeoxyglucose; CorrectedImage=DECY\\ATTN",
        ),
        ("pet/rec-nac_pet", "", "Modality=PT; CorrectedImage=DECY"),
        ("ct/ce-agent_ct", "", "Modality=CT; ContrastBolusAgent=Iopromid"),
        # neither
        ("resliced/resliced", "t1_mprage", "Product=Eq_1"),
        ("unmatched", "", ""),
        ("unmatched", "t1", "Modality=US"),
    ],
)
def test_a_default_rule_knows(expected: str, description: str, others: str) -> None:
    values = dict(one.split("=", 1) for one in others.split("; ") if one)
    assert place(default_kind(SeriesDescription=description, **values)) == expected


def test_every_default_rule_for_bids_gives_names_that_bids_knows() -> None:
    for rule in default_rules():
        if rule.is_bids:
            assert set(rule.entities) <= set(schema.entities_of(rule.folder, rule.suffix))


def test_no_text_of_a_header_becomes_a_label() -> None:
    """Labels are words of the rules, or digits."""
    texts = {"SeriesDescription": "bold task-Smithers rest", "ProtocolName": "Smithers"}
    kind = default_kind(**texts, Volumes="9", Echo="Smithers", PhaseEncoding="Smithers")
    assert place(kind) == "func/task-rest_bold"


RULES = """
defaults = false
[[rules]]
name = "all"
folder = "anat"
suffix = "T1w"
when.EchoTime = { least = 2, below = 5 }
when.SeriesDescription = { pattern = "brain", absent = "neck" }
when.InversionTime = true
entities.acq = { of = "FlipAngle" }
[rules.entities.rec]
by = ["ProtocolName", "SeriesDescription"]
words = { a = "alpha", b = "beta" }
default = "c"
"""


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("anat/acq-9_rec-c_T1w", {}),
        ("anat/acq-9p5_rec-a_T1w", {"FlipAngle": "9.50", "SeriesDescription": "Brain Alpha"}),
        ("anat/acq-9_rec-b_T1w", {"ProtocolName": "beta", "SeriesDescription": "Brain alpha"}),
        ("anat/rec-c_T1w", {"FlipAngle": "-9"}),
        ("anat/rec-c_T1w", {"FlipAngle": ""}),
        ("unmatched", {"EchoTime": "5"}),
        ("unmatched", {"EchoTime": "fast"}),
        ("unmatched", {"EchoTime": ""}),
        ("unmatched", {"InversionTime": ""}),
        ("unmatched", {"SeriesDescription": "Brain and neck"}),
        ("unmatched", {"SeriesDescription": ""}),
    ],
)
def test_all_conditions_of_a_rule_have_to_hold(expected: str, changes: dict[str, str]) -> None:
    values = {
        "EchoTime": "2",
        "SeriesDescription": "Brain",
        "InversionTime": "1",
        "FlipAngle": "9",
        **changes,
    }
    told = {name: (text,) for name, text in values.items() if text}
    assert place(kind_of(told, parse_rules(RULES), schema.entity_order())) == expected


@pytest.mark.parametrize(
    ("text", "label"),
    [("2", "2"), ("2.50", "2p5"), ("0", "0"), ("1e9", ""), ("x", ""), ("nan", "")],
)
def test_a_number_is_written_with_letters_and_digits(text: str, label: str) -> None:
    assert number_label(text) == label
