"""One peer below RTP: ICE-lite, DTLS, SRTP."""
