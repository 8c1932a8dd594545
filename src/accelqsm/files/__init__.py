"""Readers and writers of images, raw data, tables and settings."""
