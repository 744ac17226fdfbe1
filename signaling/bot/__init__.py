"""Participants with media, for programs: see `Bot`."""

from .bot import Bot
from .clock import media_time
from .errors import CodecMissing, SourceFull, SourceUnreadable, TargetUnwritable
from .files import File
from .listening import Samples
from .publishing import Publication
from .sources import Source
from .speech import Utterance
from .tracks import EncodedPacket, RemoteTrack
from .voice import Voice

__all__ = [
    "Bot",
    "CodecMissing",
    "EncodedPacket",
    "File",
    "Publication",
    "RemoteTrack",
    "Samples",
    "Source",
    "SourceFull",
    "SourceUnreadable",
    "TargetUnwritable",
    "Utterance",
    "Voice",
    "media_time",
]
