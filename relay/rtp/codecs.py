"""What the relay looks at in a payload: whether a key frame starts there, and picture numbers.

The rest is forwarded untouched. Nothing here judges a payload: one that is cut short or
makes no sense is simply no key frame and has no numbers. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Callable

from .descriptor import TOP, Structure
from .h264 import read_size
from .packet import Buffer, ReadBuffer

_VP8_START = b"\x9d\x01\x2a"


class Picture:
    """A reusable slot: what one payload says about its picture. `-1`: not there.

    The `_at` offsets are positions in the buffer.
    """

    __slots__ = (
        "dense",
        "ends",
        "frame",
        "frame_at",
        "key_frame",
        "keyidx",
        "keyidx_at",
        "picture_at",
        "picture_id",
        "picture_mask",
        "rise",
        "sizes",
        "spatial",
        "starts",
        "temporal",
        "tl0",
        "tl0_at",
    )

    def __init__(self) -> None:
        self.clear()

    def copy(self, other: Picture) -> None:
        """Say what the other one says."""
        for name in Picture.__slots__:
            setattr(self, name, getattr(other, name))

    def clear(self) -> None:
        self.starts = False  # the first packet of a frame
        self.key_frame = False  # a decoder can start with this packet
        self.picture_at = -1
        self.picture_id = -1
        self.picture_mask = 0  # 0x7F or 0x7FFF: the width of the picture id
        self.tl0_at = -1
        self.tl0 = -1
        self.keyidx_at = -1  # KEYIDX are this byte's low five bits
        self.keyidx = -1
        self.dense = False  # picture ids have to have no gaps
        self.spatial = 0  # spatial layer, of those in one stream
        self.temporal = 0  # temporal layer
        self.rise = -1  # the temporal layer up to which a receiver may rise here
        self.ends = False  # the last packet of the frame in its spatial layer, if known
        self.sizes: tuple[tuple[int, int], ...] = ()  # of the spatial layers, in a key frame
        self.frame_at = -1  # in a header extension, beside what the payload says
        self.frame = -1  # the dependency descriptor's frame number


Inspect = Callable[[ReadBuffer, int, int, Picture], None]


#       0 1 2 3 4 5 6 7
#      +-+-+-+-+-+-+-+-+
#      |X|R|N|S|R| PID |  N: non-reference, S: start of partition
#      +-+-+-+-+-+-+-+-+
#  X:  |I|L|T|K| RSV   |
#      +-+-+-+-+-+-+-+-+
#  I:  |M| PictureID   |  M: 15 bits, a second byte follows
#      +-+-+-+-+-+-+-+-+
#  L:  |   TL0PICIDX   |
#      +-+-+-+-+-+-+-+-+
#  T/K:|TID|Y| KEYIDX  |
#      +-+-+-+-+-+-+-+-+
def inspect_vp8(buf: ReadBuffer, start: int, end: int, into: Picture) -> None:
    """RFC 7741, 4.2 and 4.3."""
    into.clear()
    if start >= end:
        return
    first = buf[start]
    at = start + 1
    if first & 0x80:
        if at >= end:
            return
        flags = buf[at]
        at += 1
        if flags & 0x80:
            at = _read_picture_id(buf, at, end, into)
        if flags & 0x40 and at < end:
            into.tl0_at = at
            into.tl0 = buf[at]
            at += 1
        if flags & 0x30:
            if at < end and flags & 0x20:
                into.temporal = buf[at] >> 6
                # RFC 7741, 4.2: "Y: 1 layer sync bit [...] the frame depends only on the base
                # layer": those above the first may build on it.
                if buf[at] & 0x20:
                    into.rise = TOP if into.temporal <= 1 else into.temporal
            if at < end and flags & 0x10:
                into.keyidx_at = at
                into.keyidx = buf[at] & 0x1F
            at += 1
    # "S: Start of VP8 partition [...] PID MUST be [0] for the first packet of each frame".
    into.starts = first & 0x17 == 0x10
    into.dense = True
    # "P: Inverse key frame flag. When set to 0, the current frame is a key frame."
    into.key_frame = into.starts and at < end and not buf[at] & 0x01
    if into.key_frame and at + 10 <= end and bytes(buf[at + 3 : at + 6]) == _VP8_START:
        # RFC 6386, 9.1: the start code, then 14 bits each of width and height, little-endian.
        width = buf[at + 6] | (buf[at + 7] & 0x3F) << 8
        height = buf[at + 8] | (buf[at + 9] & 0x3F) << 8
        into.sizes = ((width, height),)


#         0 1 2 3 4 5 6 7
#        +-+-+-+-+-+-+-+-+
#        |I|P|L|F|B|E|V|Z|  P: inter-predicted, F: flexible, B/E: begins/ends a frame
#        +-+-+-+-+-+-+-+-+
#   I:   |M| PICTURE ID  |
#        +-+-+-+-+-+-+-+-+
#   L:   | TID |U| SID |D|
#        +-+-+-+-+-+-+-+-+
#   L,!F:|   TL0PICIDX   |
#        +-+-+-+-+-+-+-+-+
def inspect_vp9(buf: ReadBuffer, start: int, end: int, into: Picture) -> None:
    """RFC 9628, 4.2."""
    into.clear()
    if start >= end:
        return
    first = buf[start]
    at = start + 1
    if first & 0x80:
        at = _read_picture_id(buf, at, end, into)
    if first & 0x20:
        if at >= end:
            return
        into.temporal = buf[at] >> 5
        into.spatial = buf[at] >> 1 & 0x07
        # "U: Switching up point": what follows in higher layers builds on nothing before.
        into.rise = TOP if buf[at] & 0x10 else -1
        at += 1
        if not first & 0x10 and at < end:
            into.tl0_at = at
            into.tl0 = buf[at]
            at += 1
    into.starts = bool(first & 0x08)
    into.ends = bool(first & 0x04)
    # RFC 9628, 4.2: with P zero and SID zero "the picture is a key frame".
    into.key_frame = first & 0x48 == 0x08 and into.spatial == 0
    if first & 0x02:
        into.sizes = _read_vp9_sizes(buf, _skip_references(buf, at, end, first), end)


def _skip_references(buf: ReadBuffer, at: int, end: int, first: int) -> int:
    """P_DIFF, up to three in flexible mode with P set, the lowest bit saying that one follows."""
    if first & 0x50 == 0x50:
        for _ in range(3):
            if at >= end:
                break
            at += 1
            if not buf[at - 1] & 0x01:
                break
    return at


#  V: | N_S (3) |Y|G|-|-|-|   Y: width (16) and height (16) of N_S + 1 layers
def _read_vp9_sizes(buf: ReadBuffer, at: int, end: int) -> tuple[tuple[int, int], ...]:
    """RFC 9628, 4.2.1: the scalability structure."""
    if at >= end or not buf[at] & 0x10:
        return ()
    count = (buf[at] >> 5) + 1
    if at + 1 + 4 * count > end:
        return ()
    places = range(at + 1, at + 1 + 4 * count, 4)
    return tuple((buf[p] << 8 | buf[p + 1], buf[p + 2] << 8 | buf[p + 3]) for p in places)


#   F|NRI|Type: 1-23 one NAL unit, 24 STAP-A, 25 STAP-B, 26/27 MTAP, 28 FU-A, 29 FU-B
#   STAP-A: | 24 | size (2) | NAL unit | size (2) | NAL unit ...
#   FU-A:   | 28 | S|E|R|Type | fragment ...
def inspect_h264(buf: ReadBuffer, start: int, end: int, into: Picture) -> None:
    """RFC 6184, 5.2. A decoder can start where the parameter sets or the IDR picture start."""
    into.clear()
    if start >= end:
        return
    kind = buf[start] & 0x1F
    if kind == 28 or kind == 29:
        if start + 1 < end and buf[start + 1] & 0x80:
            into.starts = True
            into.key_frame = _starts_h264(buf, buf[start + 1] & 0x1F, start + 2, end)
    elif kind == 24:
        into.starts = True
        at = start + 1
        while at + 2 < end:
            if _starts_h264(buf, buf[at + 2] & 0x1F, at + 3, end):
                into.key_frame = True
                _note_h264_size(buf, buf[at + 2] & 0x1F, at + 3, end, into)
                return
            at += 2 + (buf[at] << 8 | buf[at + 1])
    else:
        into.starts = True
        into.key_frame = _starts_h264(buf, kind, start + 1, end)
        if into.key_frame:
            _note_h264_size(buf, kind, start + 1, end, into)


def _note_h264_size(buf: ReadBuffer, kind: int, at: int, end: int, into: Picture) -> None:
    size = read_size(bytes(buf[at : min(end, at + 64)])) if kind == 7 else None
    if size is not None:
        into.sizes = (size,)


def _starts_h264(buf: ReadBuffer, kind: int, at: int, end: int) -> bool:
    """Whether a decoder can start with a NAL unit whose payload begins at `at`."""
    if kind == 7:  # sequence parameter set
        return True
    # Of an IDR picture's slices only the first: H.264, 7.3.3 begins a slice with
    # first_mb_in_slice, whose zero is a single bit that is set.
    return kind == 5 and at < end and buf[at] >= 0x80


#   two bytes of header: |F|  type (6)  | layer (6) | TID (3) |
#   48 AP: size (2) | NAL unit | size (2) | NAL unit ...      49 FU: |S|E| type (6) | fragment ...
def inspect_h265(buf: ReadBuffer, start: int, end: int, into: Picture) -> None:
    """RFC 7798, 4.4, without decoding order numbers (sprop-max-don-diff 0)."""
    into.clear()
    if start + 2 >= end:
        return
    kind = buf[start] >> 1 & 0x3F
    if kind == 49:
        if buf[start + 2] & 0x80:
            into.starts = True
            into.key_frame = _starts_h265(buf, buf[start + 2] & 0x3F, start + 3, end)
    elif kind == 48:
        into.starts = True
        at = start + 2
        while at + 3 < end:
            if _starts_h265(buf, buf[at + 2] >> 1 & 0x3F, at + 4, end):
                into.key_frame = True
                return
            at += 2 + (buf[at] << 8 | buf[at + 1])
    else:
        into.starts = True
        into.key_frame = _starts_h265(buf, kind, start + 2, end)


def _starts_h265(buf: ReadBuffer, kind: int, at: int, end: int) -> bool:
    """The same as for H264."""
    if 32 <= kind <= 33:  # video and sequence parameter sets
        return True
    # H.265, 7.3.6.1: of an IRAP picture, first_slice_segment_in_pic_flag.
    return 16 <= kind <= 23 and at < end and buf[at] >= 0x80


#   0 1 2 3 4 5 6 7
#  |Z|Y| W |N|-|-|-|   N: the first packet of a coded video sequence
def inspect_av1(buf: ReadBuffer, start: int, end: int, into: Picture) -> None:
    """RTP payload format for AV1, 4.4: the aggregation header."""
    into.clear()
    if start >= end:
        return
    first = buf[start]
    # "N: MUST be set to 1 if the packet is the first packet of a coded video sequence".
    into.starts = not first & 0x80
    into.key_frame = first & 0x88 == 0x08


def inspect_nothing(buf: ReadBuffer, start: int, end: int, into: Picture) -> None:
    """Audio, and video of which nothing is known: a decoder can start anywhere."""
    into.clear()
    into.starts = into.key_frame = start < end <= len(buf)


#   |S|E| template id (6) |        frame number (16)        | ...
def inspect_descriptor(buf: ReadBuffer, at: int, into: Picture) -> None:
    """Add a dependency descriptor's frame number (three bytes at `at`).

    RTP payload format for AV1, A.8.2: the mandatory fields. Chromium describes VP8 and VP9 by
    it, too, and then reads nothing else.
    """
    into.starts = bool(buf[at] & 0x80)
    into.ends = bool(buf[at] & 0x40)
    into.frame_at = at + 1
    into.frame = buf[at + 1] << 8 | buf[at + 2]


def inspect_layers(structure: Structure, template_id: int, into: Picture) -> None:
    """Add what a descriptor's template says of the frame's layers."""
    template = structure.find(template_id)
    if template is not None:
        into.spatial, into.temporal, into.rise = template
        if into.key_frame:
            into.sizes = structure.sizes or into.sizes


def _read_picture_id(buf: ReadBuffer, at: int, end: int, into: Picture) -> int:
    """The id at `at`, of one or two bytes by its top bit; returns where it ends."""
    if at >= end:
        return at
    if buf[at] & 0x80:
        if at + 1 < end:
            into.picture_at = at
            into.picture_mask = 0x7FFF
            into.picture_id = (buf[at] & 0x7F) << 8 | buf[at + 1]
        return at + 2
    into.picture_at = at
    into.picture_mask = 0x7F
    into.picture_id = buf[at]
    return at + 1


_INSPECTORS: dict[str, Inspect] = {
    "vp8": inspect_vp8,
    "vp9": inspect_vp9,
    "h264": inspect_h264,
    "h265": inspect_h265,
    "av1": inspect_av1,
}


def get_inspector(codec: str) -> Inspect:
    """The function for `VP8` or `video/VP8`; of an unknown codec nothing is seen."""
    return _INSPECTORS.get(codec.lower().removeprefix("video/"), inspect_nothing)


def write_picture(
    buf: Buffer,
    picture: Picture,
    moved: int,
    picture_delta: int,
    tl0_delta: int,
    keyidx_delta: int,
    frame_delta: int = 0,
) -> None:
    """Add the deltas to a packet's numbers, each within its own width.

    `buf` holds a copy of the inspected packet, `moved` bytes after where it was. Where the
    header extensions were left out, `frame_delta` is 0.
    """
    mask = picture.picture_mask
    if mask:
        at = picture.picture_at + moved
        number = picture.picture_id + picture_delta & mask
        if mask == 0x7F:
            buf[at] = number
        else:
            # The top bit of a 15-bit id says that it is one.
            buf[at] = number >> 8 | 0x80
            buf[at + 1] = number & 0xFF
    if tl0_delta and picture.tl0_at >= 0:
        buf[picture.tl0_at + moved] = picture.tl0 + tl0_delta & 0xFF
    if keyidx_delta and picture.keyidx_at >= 0:
        at = picture.keyidx_at + moved
        buf[at] = buf[at] & 0xE0 | (picture.keyidx + keyidx_delta & 0x1F)
    if frame_delta and picture.frame_at >= 0:
        at = picture.frame_at + moved
        number = picture.frame + frame_delta & 0xFFFF
        buf[at] = number >> 8
        buf[at + 1] = number & 0xFF


class PictureMap:
    """The picture numbers that a subscriber has reached, so that another source can go on."""

    __slots__ = ("frame", "keyidx", "picture_id", "tl0")

    def __init__(self) -> None:
        # As last sent; -1: none yet.
        self.picture_id = self.tl0 = self.keyidx = self.frame = -1

    def stop(
        self,
        picture: Picture,
        picture_delta: int,
        tl0_delta: int,
        keyidx_delta: int,
        frame_delta: int = 0,
    ) -> None:
        """`picture`, sent with these deltas, was the newest of the source that ends."""
        if picture.picture_at >= 0:
            self.picture_id = picture.picture_id + picture_delta & picture.picture_mask
        if picture.tl0_at >= 0:
            self.tl0 = picture.tl0 + tl0_delta & 0xFF
        if picture.keyidx_at >= 0:
            self.keyidx = picture.keyidx + keyidx_delta & 0x1F
        if picture.frame_at >= 0:
            self.frame = picture.frame + frame_delta & 0xFFFF

    def splice(self, first: Picture) -> tuple[int, int, int, int]:
        """The deltas (picture id, TL0PICIDX, KEYIDX, frame number) that make the new source's
        `first` follow."""
        return (
            _follow(self.picture_id, first.picture_id),
            _follow(self.tl0, first.tl0),
            _follow(self.keyidx, first.keyidx),
            _follow(self.frame, first.frame),
        )


def _follow(last: int, first: int) -> int:
    return 0 if last < 0 or first < 0 else last + 1 - first
