"""What DICOM files say of themselves."""
