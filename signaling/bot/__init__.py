"""Participants with media, for programs: see `Bot`."""

from signaling.bot.bot import Bot
from signaling.bot.errors import CodecMissing, SourceUnreadable, TargetUnwritable
from signaling.bot.files import File
from signaling.bot.publishing import Publication
from signaling.bot.sources import Source
from signaling.bot.tracks import EncodedPacket, RemoteTrack

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
