"""Session descriptions written as text: what `reading` understands, in order (RFC 8866)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from .description import Description, Format, Media, TransportDescription


def build_description(description: Description) -> str:
    """Write a description, lines ended by CRLF (RFC 8866)."""
    lines = [
        "v=0",
        f"o=- {description.session_id} {description.session_version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
    ]
    if description.bundle:
        lines.append("a=group:BUNDLE " + " ".join(description.bundle))
    if description.lite:
        lines.append("a=ice-lite")
    if description.ice_options:
        lines.append("a=ice-options:" + " ".join(description.ice_options))
    if description.extmap_allow_mixed:
        lines.append("a=extmap-allow-mixed")
    if description.media:
        lines.append("a=msid-semantic:WMS *")
    for media in description.media:
        lines += _media_lines(media)
    return "\r\n".join(lines) + "\r\n"


def _media_lines(media: Media) -> list[str]:
    formats = [str(f.payload_type) for f in media.formats] or [media.other_formats or "0"]
    lines = [f"m={media.kind} {media.port} {media.protocol} {' '.join(formats)}"]
    if media.note:
        lines.append(f"i={media.note}")
    lines.append("c=IN IP4 0.0.0.0")
    if media.port == 0:
        return [*lines, "a=inactive", f"a=mid:{media.mid}"]
    lines.append(f"a=mid:{media.mid}")
    if media.sctp_port is None:
        lines.append(f"a={media.direction}")
    if media.transport is not None:
        lines += _transport_lines(media.transport)
    lines += [f"a=candidate:{candidate}" for candidate in media.candidates]
    if media.end_of_candidates:
        lines.append("a=end-of-candidates")
    if media.rtcp_mux:
        lines.append("a=rtcp-mux")
    if media.rtcp_rsize:
        lines.append("a=rtcp-rsize")
    for extension in media.extensions:
        direction = f"/{extension.direction}" if extension.direction else ""
        lines.append(f"a=extmap:{extension.id}{direction} {extension.uri}")
    for entry in media.formats:
        lines += _format_lines(entry)
    if media.ptime is not None:
        lines.append(f"a=ptime:{media.ptime}")
    lines += _stream_lines(media)
    if media.sctp_port is not None:
        lines.append(f"a=sctp-port:{media.sctp_port}")
    if media.max_message is not None:
        lines.append(f"a=max-message-size:{media.max_message}")
    return lines


def _transport_lines(transport: TransportDescription) -> list[str]:
    return [
        f"a=ice-ufrag:{transport.ufrag}",
        f"a=ice-pwd:{transport.pwd}",
        *(f"a=fingerprint:{f.algorithm} {f.value}" for f in transport.fingerprints),
        f"a=setup:{transport.setup}",
    ]


def _format_lines(entry: Format) -> list[str]:
    channels = f"/{entry.channels}" if entry.channels != 1 else ""
    lines = [f"a=rtpmap:{entry.payload_type} {entry.name}/{entry.clock_rate}{channels}"]
    if entry.parameters:
        lines.append(f"a=fmtp:{entry.payload_type} {entry.parameters}")
    lines += [f"a=rtcp-fb:{entry.payload_type} {feedback}" for feedback in entry.feedback]
    return lines


def _stream_lines(media: Media) -> list[str]:
    lines = []
    if media.msid is not None:
        lines.append(f"a=msid:{media.msid[0]} {media.msid[1]}")
    for rid in media.rids:
        restrictions = f" {rid.restrictions}" if rid.restrictions else ""
        lines.append(f"a=rid:{rid.id} {rid.direction}{restrictions}")
    if media.simulcast_receive:
        lines.append("a=simulcast:recv " + ";".join(media.simulcast_receive))
    elif media.simulcast_send:
        lines.append("a=simulcast:send " + ";".join(media.simulcast_send))
    lines += [f"a=ssrc-group:FID {ssrc} {rtx}" for ssrc, rtx in media.fid.items()]
    lines += [f"a=ssrc:{ssrc} cname:{cname}" for ssrc, cname in media.ssrcs.items()]
    return lines


def build_candidates(addresses: Sequence[tuple[str, int]]) -> list[str]:
    """Return `a=candidate` values of host candidates (RFC 8839 5.1); the list's order is the
    preference."""
    candidates = []
    for index, (host, port) in enumerate(addresses):
        version = ipaddress.ip_address(host).version
        # RFC 8445 5.1.2.1: type preference 126 for host candidates, component 1.
        priority = (126 << 24) + ((65535 - index) << 8) + 255
        foundation = f"{version}{index}"
        candidates.append(f"{foundation} 1 udp {priority} {host} {port} typ host")
    return candidates
