"""The rules of rooms and sessions: no socket, no web framework."""
