"""Export of maps as DICOM."""
