"""What goes wrong with a bot's media; `signaling.client` has what goes wrong with signaling."""

from __future__ import annotations

from ..client.errors import ClientError


class SourceUnreadable(ClientError):
    """The file, device or URL to publish cannot be opened, or holds no audio and no video."""


class CodecMissing(ClientError):
    """A codec that this machine, aiortc or the other side does not have."""


class TargetUnwritable(ClientError):
    """The file or folder to record into cannot be written."""


class SourceFull(ClientError):
    """More sound was pushed than may wait: await `push_sound`, or push as time goes."""
