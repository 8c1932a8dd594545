"""Headers of DICOM files."""
