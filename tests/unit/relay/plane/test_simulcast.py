"""Of a simulcast, the best layer that is alive goes out, and changes at a key frame."""

from __future__ import annotations

from relay.plane.simulcast import LayerChoice


class Simulcast:
    """Three layers at bytes per 20 ms packet; key frames when asked for."""

    def __init__(self) -> None:
        self.now = 10.0
        self.choice = LayerChoice()
        self.switches: list[int] = []
        self.key_frame_requests = 0

    def run(self, seconds: float, sizes: list[int], *, key_frames: bool = True) -> None:
        for tick in range(round(seconds / 0.02)):
            self.now += 0.02
            for layer, size in enumerate(sizes):
                if size:
                    self.choice.receive_packet(layer, size, self.now)
            if tick % 10 == 0:
                wanted = self.choice.handle_timer(self.now)
                if wanted is not None:
                    self.key_frame_requests += 1
                    if key_frames and self.choice.receive_key_frame(wanted):
                        self.switches.append(wanted)


def test_the_best_layer_is_chosen_whatever_the_order_of_the_rids() -> None:
    for sizes in ([100, 300, 900], [900, 300, 100], [300, 900, 100]):
        simulcast = Simulcast()
        simulcast.run(3, sizes)
        assert simulcast.choice.current == sizes.index(900)


def test_the_choice_waits_for_a_key_frame() -> None:
    simulcast = Simulcast()
    simulcast.run(3, [100, 300, 900], key_frames=False)
    assert simulcast.choice.current == 0
    assert simulcast.choice.target == 2
    assert not simulcast.choice.receive_key_frame(1)
    assert simulcast.choice.receive_key_frame(2)
    assert simulcast.choice.current == 2


def test_a_layer_that_stops_is_left_and_taken_again_when_it_returns() -> None:
    simulcast = Simulcast()
    simulcast.run(2, [100, 300, 900])
    simulcast.run(3, [100, 300, 0])
    assert simulcast.choice.current == 1
    simulcast.run(3, [100, 300, 900])
    assert simulcast.choice.current == 2


def test_layers_of_about_one_rate_do_not_take_turns() -> None:
    simulcast = Simulcast()
    for _ in range(20):
        simulcast.run(1, [300, 330])
        simulcast.run(1, [330, 300])
    assert simulcast.switches == []


def test_when_everything_stops_nothing_is_asked_for() -> None:
    simulcast = Simulcast()
    simulcast.run(2, [100, 300])
    asked = simulcast.key_frame_requests
    simulcast.run(5, [0, 0])
    assert simulcast.key_frame_requests == asked
