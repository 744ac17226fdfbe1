"""The signaling hub: rooms, sessions and the WebSocket protocol."""
