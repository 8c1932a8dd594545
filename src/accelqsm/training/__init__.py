"""Training of reconstruction networks on digital heads or fully sampled scans."""
