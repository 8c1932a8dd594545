"""Raw k-space as ISMRMRD/MRD."""
