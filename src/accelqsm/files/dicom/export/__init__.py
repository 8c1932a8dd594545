"""Maps written as DICOM."""
