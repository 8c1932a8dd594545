"""Simulated study: protocols, sampling patterns and scans."""
