"""DICOM import to BIDS with dcm2niix, and export of maps as DICOM."""
