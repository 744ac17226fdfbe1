"""The way of a packet through the relay."""
