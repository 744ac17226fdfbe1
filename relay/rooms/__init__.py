"""Who gets what: rooms, participants and their transports."""
