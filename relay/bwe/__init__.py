"""Bandwidth estimation."""
