"""Raw k-space in ISMRMRD/MRD files."""
