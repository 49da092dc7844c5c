"""Reviewed lists of attributes that neither Table E.1-1 nor the VR decides well."""

from __future__ import annotations

MANUFACTURER = 0x00080070
PATIENT_NAME = 0x00100010
PATIENT_ID = 0x00100020
ISSUER_OF_PATIENT_ID = 0x00100021
CHARACTER_SET = 0x00080005
TIMEZONE_OFFSET = 0x00080201

CODE_VALUE = 0x00080100
CODING_SCHEME = 0x00080102
CODING_SCHEME_VERSION = 0x00080103
CODE_MEANING = 0x00080104
LONG_CODE_VALUE = 0x00080119
CODE_TAGS = frozenset(
    {CODE_VALUE, CODING_SCHEME, CODING_SCHEME_VERSION, CODE_MEANING, LONG_CODE_VALUE}
)

PATIENT_IDENTITY_REMOVED = 0x00120062
METHOD = 0x00120063
METHOD_CODES = 0x00120064
TEMPORAL_INFORMATION = 0x00280303
MARKER_TAGS = frozenset({PATIENT_IDENTITY_REMOVED, METHOD, TEMPORAL_INFORMATION})
"""Written anew; METHOD_CODES is appended to."""

CLASS_UIDS = frozenset(
    {
        0x00080016,  # SOP Class UID
        0x0008001A,  # Related General SOP Class UID
        0x0008001B,  # Original Specialized SOP Class UID
        0x00080062,  # SOP Classes in Study
        0x0008010C,  # Coding Scheme UID
        0x0008010D,  # Context Group Extension Creator UID
        0x00080117,  # Context UID
        0x00080118,  # Mapping Resource UID
        0x0008040E,  # Stored Instance Transfer Syntax UID
        0x00081150,  # Referenced SOP Class UID
        0x0008115A,  # SOP Classes Supported
        0x00083002,  # Available Transfer Syntax UID
        0x00340003,  # Flow Transfer Syntax UID
        0x04000010,  # MAC Calculation Transfer Syntax UID
        0x04000510,  # Encrypted Content Transfer Syntax UID
        0x30100052,  # Pertinent SOP Classes in Study
        0x30100053,  # Pertinent SOP Classes in Series
    }
)
"""UI attributes that name a class, a code or an encoding, never an instance: left alone."""

TECHNICAL_TEXT = frozenset(
    {
        0x00080070,  # Manufacturer
        0x00081090,  # Manufacturer's Model Name
        0x00180024,  # Sequence Name
        0x00180031,  # Radiopharmaceutical
        0x00180085,  # Imaged Nucleus
        0x00181020,  # Software Versions
        0x00181040,  # Contrast/Bolus Route
        0x00181061,  # Trigger Source or Type
        0x00181064,  # Cardiac Framing Type
        0x00181070,  # Radiopharmaceutical Route
        0x00181085,  # PVC Rejection
        0x00181160,  # Filter Type
        0x00181161,  # Type of Filters
        0x001811B0,  # Acquisition Mode
        0x00181210,  # Convolution Kernel
        0x00181250,  # Receive Coil Name
        0x00181251,  # Transmit Coil Name
        0x00181260,  # Plate Type
        0x00181261,  # Phosphor Type
        0x0018702A,  # Detector Manufacturer Name
        0x0018702B,  # Detector Manufacturer's Model Name
        0x00189005,  # Pulse Sequence Name
        0x00189041,  # Receive Coil Manufacturer Name
        0x00189047,  # Multi-Coil Element Name
        0x00189050,  # Transmit Coil Manufacturer Name
        0x0018925E,  # ASL Bolus Cut-off Technique
        0x00189320,  # Image Filter
        0x00209056,  # Stack ID
        0x00281054,  # Rescale Type
        0x00283004,  # Modality LUT Type
        0x00541101,  # Attenuation Correction Method
        0x00541103,  # Reconstruction Method
        0x00541104,  # Detector Lines of Response Used
        0x00541105,  # Scatter Correction Method
        0x00620009,  # Segment Algorithm Name
        0x00660031,  # Algorithm Version
        0x00660036,  # Algorithm Name
    }
)
"""Unlisted text attributes that a device fills in about itself."""

NUMERIC_BULK = frozenset(
    {
        0x00281201,  # Red, Green, Blue, Alpha Palette Color Lookup Table Data
        0x00281202,
        0x00281203,
        0x00281204,
        0x00281221,  # Segmented Red, Green, Blue, Alpha Palette Color Lookup Table Data
        0x00281222,
        0x00281223,
        0x00281224,
        0x00281408,  # Blending Lookup Table Data
        0x00283006,  # LUT Data
        0x003A032E,  # Filter Lookup Table Data
        0x00640009,  # Vector Grid Data
        0x00660016,  # Point Coordinates Data
        0x00660021,  # Vector Coordinate Data
        0x00660022,  # Double Point Coordinates Data
        0x00660023,  # Triangle, Edge, Vertex, Primitive Point Index Lists, long ones too
        0x00660024,
        0x00660025,
        0x00660029,
        0x00660040,
        0x00660041,
        0x00660042,
        0x00660043,
        0x00660125,  # Floating Point Values
        0x00660129,  # Track Point Index List
        0x54000110,  # Channel Minimum, Maximum Value, Waveform Padding Value, Waveform Data
        0x54000112,
        0x5400100A,
        0x54001010,
        0x56000010,  # First Order Phase Correction Angle
        0x56000020,  # Spectroscopy Data
        0x7FE00001,  # Extended Offset Table and its lengths
        0x7FE00002,
    }
)
"""Byte and word strings that hold numbers only; no other is released (an ICC profile has text)."""

NEVER = frozenset(
    {
        0x00880200,  # Icon Image Sequence
        0x04000402,  # Referenced Digital Signature Sequence
        0x04000403,  # Referenced SOP Instance MAC Sequence
        0x04000500,  # Encrypted Attributes Sequence
        0x04000550,  # Modified Attributes Sequence
        0x04000561,  # Original Attributes Sequence
        0x04000600,  # Instance Origin Status
    }
)
"""Copies, digests and ciphers of what the rules take out."""

REMOVED_GROUPS = frozenset({0x0010, 0x0012, 0x0032, 0x0038, 0x4000, 0x4008, 0x4FFE, 0x4010})
"""Groups about patient, trial, request, visit and results: only what the profile names stays."""

SPARED = frozenset(
    {
        0x00100028,  # Subject Relative Position in Image
        0x00100200,  # Quality Control Subject
        0x00101023,  # Measured AP, Lateral Dimension
        0x00101024,
        0x00102210,  # Anatomical Orientation Type
        0x00109431,  # Examined Body Thickness
        0x00120052,  # Longitudinal Temporal Offset from Event, Event Type
        0x00120053,
        0x00120084,  # Distribution Type, Consent for Distribution Flag
        0x00120085,
        0x00321064,  # Requested Procedure Code Sequence
    }
)
"""Of REMOVED_GROUPS, unlisted: numbers and codes of how the image was made and may be used."""

SPARED_CHARACTERISTICS = frozenset(
    {
        0x00101021,  # Patient's Size Code Sequence
        0x00101022,  # Patient's Body Mass Index
        0x00102202,  # Patient Species Code Sequence
        0x00102293,  # Patient Breed Code Sequence
    }
)
"""Of REMOVED_GROUPS, unlisted: of use where size and weight of a patient are."""

TERMS = frozenset(
    {
        0x00082120,  # Stage Name, View Name
        0x00082127,
        0x00181180,  # Collimator/Grid Name
        0x00185020,  # Processing Function
        0x00201040,  # Position Reference Indicator
        0x00209421,  # Dimension Description Label
        0x00281055,  # Window Center & Width Explanation
        0x00283003,  # LUT Explanation
        0x00409210,  # LUT Label
        0x00540018,  # Energy Window Name
        0x00620005,  # Segment Label
    }
)
"""Unlisted text attributes that hold a technical term or a region: its known words always stay."""

UNTOUCHABLE = MARKER_TAGS | {PATIENT_NAME, PATIENT_ID, CHARACTER_SET, METHOD_CODES}
"""What a release says of itself and of its patient: no rule of a project changes it."""

IMAGE_GROUP = 0x0028

CORE = frozenset(
    {
        0x00080016,  # SOP Class, SOP Instance UID
        0x00080018,
        0x00080060,  # Modality
        0x00180050,  # Slice Thickness
        0x00180088,  # Spacing Between Slices
        0x00185100,  # Patient Position
        0x0020000D,  # Study, Series Instance UID
        0x0020000E,
        0x00200011,  # Series, Instance Number
        0x00200013,
        0x00200032,  # Image Position, Image Orientation (Patient)
        0x00200037,
        0x00200052,  # Frame of Reference UID
        0x00209113,  # Plane Position, Plane Orientation Sequence
        0x00209116,
        0x52009229,  # Shared, Per-Frame Functional Groups Sequence
        0x52009230,
    }
)
"""What an instance can't do without, whatever an allow-list names."""
