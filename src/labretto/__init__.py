"""Labretto."""
