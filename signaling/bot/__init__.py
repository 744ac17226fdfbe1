"""Participants with media, for programs: see `Bot`."""

from .bot import Bot
from .errors import CodecMissing, SourceUnreadable, TargetUnwritable
from .files import File
from .publishing import Publication
from .sources import Source
from .tracks import EncodedPacket, RemoteTrack

__all__ = [
    "Bot",
    "CodecMissing",
    "EncodedPacket",
    "File",
    "Publication",
    "RemoteTrack",
    "Source",
    "SourceUnreadable",
    "TargetUnwritable",
]
