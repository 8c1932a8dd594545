"""DICOM: series found and planned as BIDS, converted by dcm2niix; maps written back as DICOM."""
