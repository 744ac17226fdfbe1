"""Rooms, participants and their transports: the rules of who gets what."""
