"""Processes: workers, the node that supervises them, and the channel between the two."""
