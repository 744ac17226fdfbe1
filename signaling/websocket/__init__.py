"""One WebSocket for one session."""
