"""What is no plain image: references across files, trees, documents, multi-frame images."""

from __future__ import annotations

import struct

from pydicom import Dataset
from pydicom import uid as classes
from pydicom.dataelem import DataElement

from tests.answer_key.cast import Person
from tests.answer_key.key import Action, Check, Fate
from tests.answer_key.maker import Maker, date_check, without_pixels
from tests.answer_key.naming import path_of

RT = "references"


def add_objects(maker: Maker) -> None:
    _add_radiotherapy(maker)
    _add_registration(maker)
    _add_enhanced(maker)
    _add_waveform(maker)
    _add_documents(maker)
    _add_report(maker)
    _add_presentation_state(maker)


def _reference(sop_class: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def _used(category: str, *paths: tuple[int | str, ...]) -> list[Check]:
    return [Check(category, Action.TEXT_NOTNULL, path_of(*path)) for path in paths]


def _add_radiotherapy(maker: Maker) -> None:
    """Structure set to slices, plan to structure set, dose to plan; one frame of reference."""
    person, cast = maker.cast.person(), maker.cast
    study, series, frame = cast.uid(), cast.uid(), cast.uid()
    common = {"StudyInstanceUID": study, "FrameOfReferenceUID": frame}
    slices = []
    for number in range(2):
        image = maker.instance(person, "CT", SeriesInstanceUID=series, **common)
        maker.add(f"references/ct-{number}.dcm", RT, image, person)
        slices.append(_reference(classes.CTImageStorage, image.SOPInstanceUID))
    structures = _structure_set(maker, person, slices, common, series)
    plan = without_pixels(maker.instance(person, **common), classes.RTPlanStorage, "RTPLAN")
    plan.RTPlanLabel = maker.hidden(cast.capitals(9), RT)
    plan.RTPlanDate = cast.date(2005, 2022)
    plan.ReferencedStructureSetSequence = [
        _reference(classes.RTStructureSetStorage, structures.SOPInstanceUID)
    ]
    beam = Dataset()
    beam.BeamNumber, beam.BeamName = "1", maker.hidden(cast.word(), RT)
    beam.TreatmentMachineName, beam.BeamType = maker.hidden(cast.capitals(9), RT), "STATIC"
    plan.BeamSequence = [beam]
    file = maker.add("references/plan.dcm", RT, plan, person)
    file.checks += _used(
        RT, ("ReferencedStructureSetSequence", 0, "ReferencedSOPInstanceUID"), ("RTPlanLabel",)
    )
    file.checks += [
        date_check(RT, path_of("RTPlanDate"), plan.RTPlanDate),
        Check(RT, Action.TEXT_RETAINED, path_of("BeamSequence", 0, "BeamNumber"), "1"),
        Check(RT, Action.TEXT_RETAINED, path_of("BeamSequence", 0, "BeamType"), "STATIC"),
    ]
    dose = maker.instance(
        person, "CT", SOPClassUID=classes.RTDoseStorage, Modality="RTDOSE", DoseUnits="GY",
        DoseType="PHYSICAL", DoseSummationType="PLAN", DoseGridScaling="0.0125", **common,
    )  # fmt: skip
    dose.DoseComment = maker.hidden(cast.word(), RT)
    dose.ReferencedRTPlanSequence = [_reference(classes.RTPlanStorage, plan.SOPInstanceUID)]
    file = maker.add("references/dose.dcm", RT, dose, person)
    file.checks += _used(RT, ("ReferencedRTPlanSequence", 0, "ReferencedSOPInstanceUID"))
    file.checks += [
        Check(RT, Action.TEXT_RETAINED, path_of("DoseGridScaling"), "0.0125"),
        Check(RT, Action.TEXT_RETAINED, path_of("DoseUnits"), "GY"),
    ]


def _structure_set(
    maker: Maker, person: Person, slices: list[Dataset], common: dict[str, str], series: str
) -> Dataset:
    found = maker.instance(person, **common)
    found = without_pixels(found, classes.RTStructureSetStorage, "RTSTRUCT")
    found.StructureSetLabel = maker.hidden(maker.cast.capitals(9), RT)
    found.StructureSetDate = maker.cast.date(2005, 2022)
    frame, studied, of_series = Dataset(), Dataset(), Dataset()
    of_series.SeriesInstanceUID, of_series.ContourImageSequence = series, slices
    studied.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    studied.ReferencedSOPInstanceUID = common["StudyInstanceUID"]
    studied.RTReferencedSeriesSequence = [of_series]
    frame.FrameOfReferenceUID = common["FrameOfReferenceUID"]
    frame.RTReferencedStudySequence = [studied]
    region = Dataset()
    region.ROINumber, region.ROIName = "1", maker.hidden(maker.cast.word(), RT)
    region.ReferencedFrameOfReferenceUID = common["FrameOfReferenceUID"]
    region.ROIGenerationAlgorithm = "MANUAL"
    contour, outline = Dataset(), Dataset()
    outline.ContourImageSequence = slices[:1]
    outline.ContourGeometricType, outline.NumberOfContourPoints = "POINT", "1"
    outline.ContourData = ["1.5", "2.5", "3.5"]
    contour.ReferencedROINumber, contour.ContourSequence = "1", [outline]
    found.ReferencedFrameOfReferenceSequence = [frame]
    found.StructureSetROISequence, found.ROIContourSequence = [region], [contour]
    file = maker.add("references/structures.dcm", RT, found, person)
    start: tuple[int | str, ...] = ("ReferencedFrameOfReferenceSequence", 0)
    deep = (*start, "RTReferencedStudySequence", 0, "RTReferencedSeriesSequence", 0)
    file.checks += _used(
        RT,
        (*start, "FrameOfReferenceUID"),
        (*start, "RTReferencedStudySequence", 0, "ReferencedSOPInstanceUID"),
        (*deep, "SeriesInstanceUID"),
        (*deep, "ContourImageSequence", 1, "ReferencedSOPInstanceUID"),
        ("StructureSetROISequence", 0, "ReferencedFrameOfReferenceUID"),
        ("ROIContourSequence", 0, "ContourSequence", 0, "ContourImageSequence", 0,
         "ReferencedSOPInstanceUID"),
        ("StructureSetLabel",),
    )  # fmt: skip
    data = path_of("ROIContourSequence", 0, "ContourSequence", 0, "ContourData")
    file.checks += [
        Check(RT, Action.TEXT_RETAINED, data, "1.5\\2.5\\3.5"),
        Check(RT, Action.TEXT_RETAINED, path_of("StructureSetROISequence", 0, "ROINumber"), "1"),
        date_check(RT, path_of("StructureSetDate"), found.StructureSetDate),
    ]
    return found


def _add_registration(maker: Maker) -> None:
    """UIDs that the table does not list, and that tie files together all the same."""
    person = maker.cast.person()
    image = maker.instance(person)
    maker.add("references/mr.dcm", RT, image, person)
    found = without_pixels(maker.instance(person), classes.SpatialRegistrationStorage, "REG")
    moved, matrices, matrix = Dataset(), Dataset(), Dataset()
    matrix.FrameOfReferenceTransformationMatrix = ["1", "0", "0", "4"] + ["0"] * 12
    matrix.FrameOfReferenceTransformationMatrixType = "RIGID"
    matrices.MatrixSequence = [matrix]
    moved.FrameOfReferenceUID = image.FrameOfReferenceUID
    moved.ReferencedImageSequence = [_reference(classes.MRImageStorage, image.SOPInstanceUID)]
    moved.MatrixRegistrationSequence = [matrices]
    found.RegistrationSequence = [moved]
    for keyword in (
        "MultiFrameSourceSOPInstanceUID", "SOPInstanceUIDOfConcatenationSource",
        "TargetFrameOfReferenceUID", "VolumeFrameOfReferenceUID",
    ):  # fmt: skip
        setattr(found, keyword, image.FrameOfReferenceUID)
    file = maker.add("references/registration.dcm", RT, found, person)
    file.checks += _used(
        RT,
        ("RegistrationSequence", 0, "FrameOfReferenceUID"),
        ("RegistrationSequence", 0, "ReferencedImageSequence", 0, "ReferencedSOPInstanceUID"),
        ("MultiFrameSourceSOPInstanceUID",),
        ("TargetFrameOfReferenceUID",),
        ("VolumeFrameOfReferenceUID",),
    )


def _add_enhanced(maker: Maker) -> None:
    person, category = maker.cast.person(), "multi-frame"
    found = maker.instance(person, SOPClassUID=classes.EnhancedMRImageStorage)
    found.NumberOfFrames = "2"
    found["PixelData"].value = bytes(found.PixelData) * 2
    shared, measures = Dataset(), Dataset()
    measures.SliceThickness, measures.PixelSpacing = "2.5", ["1.5", "1.5"]
    shared.PixelMeasuresSequence = [measures]
    found.SharedFunctionalGroupsSequence = [shared]
    frames, checks = [], []
    group = "PerFrameFunctionalGroupsSequence"
    for number in range(2):
        frame, content, position = Dataset(), Dataset(), Dataset()
        content.FrameAcquisitionDateTime = f"{maker.cast.date(2005, 2022)}101500"
        content.FrameComments = maker.hidden(maker.cast.word(), category)
        content.StackID, content.InStackPositionNumber = "1", number + 1
        content.DimensionIndexValues = [1, number + 1]
        position.ImagePositionPatient = ["1", "2", str(number)]
        frame.FrameContentSequence, frame.PlanePositionSequence = [content], [position]
        frames.append(frame)
        here = (group, number)
        checks += [
            date_check(
                category, path_of(*here, "FrameContentSequence", 0, "FrameAcquisitionDateTime"),
                content.FrameAcquisitionDateTime,
            ),
            Check(
                category, Action.TEXT_RETAINED,
                path_of(*here, "FrameContentSequence", 0, "InStackPositionNumber"), str(number + 1),
            ),
            Check(
                category, Action.TEXT_RETAINED,
                path_of(*here, "PlanePositionSequence", 0, "ImagePositionPatient"),
                f"1\\2\\{number}",
            ),
        ]  # fmt: skip
    found.PerFrameFunctionalGroupsSequence = frames
    organization = Dataset()
    organization.DimensionOrganizationUID = maker.cast.uid()
    found.DimensionOrganizationSequence = [organization]
    file = maker.add("multi-frame/enhanced-mr.dcm", category, found, person)
    file.checks += checks
    file.checks += [
        *_used(category, ("DimensionOrganizationSequence", 0, "DimensionOrganizationUID")),
        Check(
            category, Action.TEXT_RETAINED,
            path_of("SharedFunctionalGroupsSequence", 0, "PixelMeasuresSequence", 0,
                    "SliceThickness"), "2.5",
        ),
    ]  # fmt: skip


def _add_waveform(maker: Maker) -> None:
    person, category = maker.cast.person(), "waveform"
    found = maker.instance(person)
    found = without_pixels(found, classes.TwelveLeadECGWaveformStorage, "ECG")
    group, channel, note = Dataset(), Dataset(), Dataset()
    group.WaveformOriginality, group.NumberOfWaveformChannels = "ORIGINAL", 1
    group.NumberOfWaveformSamples, group.SamplingFrequency = 4, "500"
    channel.ChannelLabel = maker.hidden(maker.cast.capitals(9), category)
    channel.WaveformBitsStored = 16
    group.ChannelDefinitionSequence = [channel]
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.add(DataElement(0x54001010, "OW", struct.pack("<4h", 5, -5, 9, 0)))
    note.UnformattedTextValue = maker.hidden(maker.cast.word(), category)
    found.WaveformSequence, found.WaveformAnnotationSequence = [group], [note]
    file = maker.add("waveform/ecg.dcm", category, found, person)
    file.checks += [
        Check(
            category, Action.TEXT_RETAINED, path_of("WaveformSequence", 0, "SamplingFrequency"),
            "500",
        ),
        Check(
            category, Action.TEXT_NOTNULL, path_of("WaveformSequence", 0, "WaveformData")
        ),
    ]  # fmt: skip


def _add_documents(maker: Maker) -> None:
    for title, sop_class, keyword in (
        ("pdf", classes.EncapsulatedPDFStorage, "EncapsulatedDocument"),
        ("cda", classes.EncapsulatedCDAStorage, "EncapsulatedDocument"),
        ("raw", classes.RawDataStorage, "EncapsulatedDocument"),
    ):
        person = maker.cast.person()
        found = without_pixels(maker.instance(person), sop_class, "DOC")
        found.DocumentTitle = maker.hidden(maker.cast.word(), "documents")
        found.BurnedInAnnotation = "YES"
        text = maker.hidden(maker.cast.word(), "documents")
        content = f"%PDF-1.4 (Report of {text})".encode()
        setattr(found, keyword, content + b" " * (len(content) % 2))
        maker.add(f"documents/{title}.dcm", "documents", found, person, Fate.EITHER)


def _add_report(maker: Maker) -> None:
    person, hidden = maker.cast.person(), maker.hidden
    for title, sop_class in (
        ("report", classes.ComprehensiveSRStorage),
        ("key-objects", classes.KeyObjectSelectionDocumentStorage),
        ("dose", classes.XRayRadiationDoseSRStorage),
    ):
        found = without_pixels(maker.instance(person), sop_class, "SR")
        text, named, coded = Dataset(), Dataset(), Dataset()
        text.RelationshipType, text.ValueType = "CONTAINS", "TEXT"
        text.TextValue = f"Seen by {hidden(maker.cast.word(), 'documents')}"
        named.RelationshipType, named.ValueType = "CONTAINS", "PNAME"
        named.PersonName = hidden(maker.cast.word(), "documents")
        coded.CodeValue, coded.CodingSchemeDesignator = "121008", "DCM"
        coded.CodeMeaning = hidden(maker.cast.word(), "documents")
        named.ConceptNameCodeSequence = [coded]
        container = Dataset()
        container.RelationshipType, container.ValueType = "CONTAINS", "CONTAINER"
        container.ContentSequence = [text, named]
        found.ValueType, found.ContentSequence = "CONTAINER", [text, container]
        observer = Dataset()
        observer.VerifyingObserverName = hidden(maker.cast.word(), "documents")
        observer.VerifyingOrganization = hidden(maker.cast.word(), "documents")
        observer.VerificationDateTime = maker.cast.date(2005, 2022)
        found.VerifyingObserverSequence = [observer]
        maker.add(f"documents/{title}.dcm", "documents", found, person, Fate.EITHER)


def _add_presentation_state(maker: Maker) -> None:
    person = maker.cast.person()
    sop_class = classes.GrayscaleSoftcopyPresentationStateStorage
    found = without_pixels(maker.instance(person), sop_class, "PR")
    note, text, layer = Dataset(), Dataset(), Dataset()
    text.UnformattedTextValue = maker.hidden(maker.cast.word(), "graphics")
    note.GraphicLayer, note.TextObjectSequence = "L1", [text]
    layer.GraphicLayer = "L1"
    layer.GraphicLayerDescription = maker.hidden(maker.cast.word(), "graphics")
    found.GraphicAnnotationSequence, found.GraphicLayerSequence = [note], [layer]
    found.ContentLabel, found.ContentDescription = "X", maker.hidden(maker.cast.word(), "graphics")
    maker.add("documents/presentation.dcm", "graphics", found, person, Fate.EITHER)
