"""RTP and RTCP on the wire and the rules that belong to them; no socket, no clock."""
