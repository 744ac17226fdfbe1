"""WHIP and WHEP: who is admitted (`admission`), the texts (`fragments`), the HTTP (`routes`)."""
