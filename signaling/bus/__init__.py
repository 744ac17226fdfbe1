"""Hubs tell each other what happens in a room that several of them serve."""
