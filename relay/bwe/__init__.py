"""What a receiver's line carries, and what it gets of it: no clock, no socket."""
