"""libopus."""

from __future__ import annotations

import numpy as np
import pytest

from signaling.bot.opus import OpusDecoder, OpusError
from tests.unit.signaling.bot.test_decoding import encode


def test_packets_are_decoded_recovered_and_concealed() -> None:
    packets = encode("opus", 10)
    decoder = OpusDecoder()
    for packet in packets[:8]:
        assert decoder.decode(packet.data).shape == (960, 2)
    recovered = decoder.recover(packets[9].data, 960)
    assert recovered.shape == (960, 2)
    assert np.abs(recovered).max() > 1000
    assert decoder.conceal(480).shape == (480, 2)


def test_what_is_no_packet_raises_and_the_decoder_goes_on() -> None:
    decoder = OpusDecoder()
    with pytest.raises(OpusError):
        decoder.decode(b"\xff\xff")
    assert len(decoder.decode(encode("opus", 3)[0].data)) == 960
