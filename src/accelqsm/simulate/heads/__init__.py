"""Digital head phantom: anatomy, tissue properties and deformation."""
