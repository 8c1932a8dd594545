"""Result folders: file names, writers, readers and provenance."""
