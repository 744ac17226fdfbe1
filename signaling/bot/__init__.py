"""Participants with media, for programs: see `Bot`."""

from .bot import Bot
from .errors import CodecMissing, SourceFull, SourceUnreadable, TargetUnwritable
from .files import File
from .publishing import Publication
from .sources import Source
from .tracks import EncodedPacket, RemoteTrack
from .voice import Voice

__all__ = [
    "Bot",
    "CodecMissing",
    "EncodedPacket",
    "File",
    "Publication",
    "RemoteTrack",
    "Source",
    "SourceFull",
    "SourceUnreadable",
    "TargetUnwritable",
    "Voice",
]
