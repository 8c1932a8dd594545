"""Channel images to susceptibility: mask, field, unwrapping, background, inversion."""
