"""De-identification of a template by the basic profile of DICOM PS3.15."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

EMPTIED = (
    *("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
REMOVED = (
    *("PatientAge", "PatientSize", "PatientWeight", "StudyDescription", "InstitutionName"),
    *("StationName", "DeviceSerialNumber", "ProtocolName", "PositionReferenceIndicator"),
)
REPLACED = ("StudyInstanceUID", "FrameOfReferenceUID")
METHOD = "DICOM PS3.15 Basic Application Level Confidentiality Profile"


class UidMaker:
    """Generator of unique identifiers from words; the same words give the same identifier.

    With ``secret``, nobody can find the words by trying them.
    """

    def __init__(self, *, secret: bool = False) -> None:
        self._key = secrets.token_bytes(32) if secret else b"accelqsm"

    def uid(self, *words: str) -> str:
        """A UID under 2.25 (a UUID as a number, ISO/IEC 9834-8)."""
        return f"2.25.{int(self.code(*words), 16)}"

    def code(self, *words: str | bytes) -> str:
        """32 hexadecimal digits."""
        digest = hashlib.blake2b(key=self._key, digest_size=16)
        for word in words:
            content = word.encode() if isinstance(word, str) else word
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()


def anonymise(elements: Dataset, maker: UidMaker) -> None:
    """De-identify a data set in place: empty, remove or replace identifying elements.

    Private elements and sequences are not among the elements of a template.

    Args:
        elements: of patient, study, equipment and place.
        maker: with a secret, so that identifiers cannot be traced.
    """
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    name = f"ANON{maker.code(str(elements.get('PatientID', '')))[:8].upper()}"
    elements.SpecificCharacterSet = "ISO_IR 100"
    elements.PatientName, elements.PatientID = f"{name}^", name
    for keyword in EMPTIED:
        setattr(elements, keyword, "")
    for keyword in REMOVED:
        if keyword in elements:
            delattr(elements, keyword)
    for keyword in REPLACED:
        if keyword in elements:
            setattr(elements, keyword, maker.uid(str(elements[keyword].value)))
    elements.PatientIdentityRemoved = "YES"
    elements.DeidentificationMethod = METHOD
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    elements.DeidentificationMethodCodeSequence = Sequence([code])
