"""Signaling for other systems' clients."""
