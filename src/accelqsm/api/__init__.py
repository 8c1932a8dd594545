"""What people call: paths and arrays in, records out."""
