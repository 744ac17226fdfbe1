"""The media relay: RTP forwarded by rewriting headers, never decoded."""
