"""Words that people are also called. Where an attribute is there to hold such words, they are no
echo of a name; IDs and dates are looked for all the same."""

from __future__ import annotations

import functools

from pydicom.sr.codedict import codes


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CODED = _words(
    """
    abdomen acquired adrenal allergy angio ankle antrum anus aorta apical arch arm artery
    atrium average axial axilla back basal base bilateral biopsy black bladder body bolus
    bone bowel brain breast bronchus buttock calcaneus calf cardiac carotid catheter
    cerebellum cervical cervix chamber cheek chest chin clavicle closed coccyx coil colon
    color colour combined contrast cornea coronal coronary cranial cross cube cubital decay
    default derived diffusion digit direct dorsal double dual duodenum dynamic early elbow
    ellipse emission entire esophagus extra extremity eyelid face false fast feet female
    femoral femur fetus field filter filtered finger first flat fluence fluoro foot forearm
    frame free frontal full gallbladder gland grain gray grayscale green groin gums hair
    half hand hard head heart helical helix high hilum hold humerus ileum ilium image inside
    inspiration interior inverse iris jaws jejunum joint kidney knee label large larynx last
    late lateral left legs lens light linear lips liver localiser localizer long lower
    lumbar lung magnitude male mandible manual mask mass maxilla maximum mean medial median
    mediastinum mild milk minimum mixed modified mono monochrome motion mouth multiplanar
    muscle nasal navel neck nerve night none normal nose oblique occipital open optic oral
    orbit original other outside oval ovary palate palette pancreas parallel parotid partial
    patella pelvis penis perfusion perineum phantom pharynx phase placenta planar point
    portal positive post posterior primary projection prone prostate proximal pulmonary
    pulse quiet radial radiograph radius random rear rectum reformat reformatted relative
    renal resampled research rest retina ribs right ring root rotation round sacrum sagittal
    scalp scapula scout scrotum secondary segment sella series short shoulder sigmoid signal
    sinus skin skull slant small smooth soft software solid sound spectroscopy spin spine
    spiral spleen standard static step sternum stomach stone strip strong subclavian
    subtraction supine surface syringe table tail target temporal term testis thalamus thick
    thigh third thorax thumb thymus thyroid tibia time tissue tomo tongue trachea transverse
    trigger tube tumor ulna umbilicus undefined unilateral unknown unpaired upper ureter
    urethra uterus vagina variable vein velocity ventral vessel vision volume vulva warm
    water wedge white whole wholebody wide wrist zygoma
    """
)
"""Defined terms of coded strings: PS3.16 annex L, and the enumerations of PS3.3."""

MAKERS = _words(
    """
    achieva acuson adac aera agfa allegra allura ambition amira angio aplio aquilion artis
    asset avanto azurion biograph biomedical bright brilliance bruker canon cardiac
    carestream columbia concerto confirma corporation curve definition dicom discovery edge
    electric elite elition elscint emotion epiq esaote espree evolution expert fidelity
    flash focus fonar force fuji fujifilm general genesis gyroscan healthcare healthineers
    hispeed hitachi hologic horizon imaging impax infinix ingenia inspira inspiration intera
    iqon kodak konica leonardo lightspeed lunar magnetom marconi medical medison medtronic
    millennium mindray minolta mobile mobilett multistar nemio neuro neusoft odyssey omni
    optima ortho panorama panther perform philips picker precedence precision premier
    premium prime prisma prodigy profile quantum revolution sala samsung scenaria sensation
    shimadzu siemens signa silhouette skyra sola sonata spectra spectral spectris spirit
    supra swiss symbia symphony syngo system systems tesla titan toshiba trio triumph
    truebeam united vantage varian ventura verio vida vision vivid volume voyager wizard
    xeleris ysio
    """
)
"""Words of makers and their products."""

MAKER_TAGS = frozenset({0x00080070, 0x00081090, 0x00181020, 0x0018702A, 0x0018702B})
METHOD_TAG, CODE_MEANING = 0x00120063, 0x00080104
METHOD = _words("pacstream table basic profile option options")
"""What a release says of its own method."""

NOBODY = _words(
    """
    admin administrator anon anonymised anonymisiert anonymized anonymous assistant clinic
    clinical default deidentified department dept doctor emergency external frau guest herr
    hospital ignored intern junior lady madame miss missing mister mrs name nobody none
    nurse operator outpatient patient phantom physician prof professor pseudonym
    radiographer radiologist radiology referring removed resident senior service student
    surname tech technician technologist test testing unbekannt undefined unknown
    unspecified user
    """
)
"""Stands where a name should, and is nobody's: never looked for."""

VALUE_TYPE = 0x0040A040
VALUE_TYPES = _words(
    """
    code composite container date datetime image num pname scoord table tcoord text time uidref
    waveform
    """
)
"""What a content item is (PS3.3 section C.17.3.2.1), whoever is called Text."""

COMMON = CODED | MAKERS | NOBODY
"""An institution that is called by these words alone is not told by them."""

LONGEST_PUBLIC = 64


@functools.cache
def _public_meanings() -> frozenset[str]:
    """The meanings of coded concepts that pydicom has (PS3.16), as folded text."""
    found = {
        concept.meaning.casefold()[:LONGEST_PUBLIC]
        for scheme in codes.schemes()
        for concept in getattr(codes, scheme).concepts.values()
    }
    return frozenset(found | {meaning.partition(" (")[0] for meaning in found})


def is_public(tag: int, text: str) -> bool:
    """Whether a value is a meaning out of the standard's own lists, and nobody's name."""
    return tag == CODE_MEANING and text.strip(" \0").casefold() in _public_meanings()


def is_creator(tag: int) -> bool:
    """Whether it is a private creator (PS3.5 section 7.8.1)."""
    return bool(tag >> 16 & 1) and 0x10 <= tag & 0xFFFF <= 0xFF


def terms(tag: int, vr: str) -> frozenset[str]:
    """Words that may stand in an attribute whatever anyone is called, folded."""
    if tag in MAKER_TAGS or is_creator(tag):
        return MAKERS
    if tag == METHOD_TAG:
        return METHOD
    if tag == VALUE_TYPE:
        return VALUE_TYPES
    return CODED if vr == "CS" else frozenset()
