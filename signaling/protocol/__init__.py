"""The wire: what the hub and its clients say to each other, and nothing else."""
