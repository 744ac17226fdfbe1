"""SCTP over DTLS for data channels (RFC 9260, 3758, 6525, 8832), without clock and socket."""
