"""Of a simulcast, the best layer that is alive goes out, and changes at a key frame."""

from __future__ import annotations

from relay.plane.simulcast import LayerChoice


class Simulcast:
    """Three layers at bytes per 20 ms packet; key frames when asked for."""

    def __init__(self) -> None:
        self.now = 10.0
        self.choice = LayerChoice()
        self.switches: list[int | None] = []

    def run(self, seconds: float, sizes: list[int]) -> None:
        for tick in range(round(seconds / 0.02)):
            self.now += 0.02
            for layer, size in enumerate(sizes):
                if size:
                    self.choice.receive_packet(layer, size, self.now)
            if tick % 10 == 0 and self.choice.handle_timer(self.now):
                self.switches.append(self.choice.current)


def test_the_best_layer_is_chosen_whatever_the_order_of_the_rids() -> None:
    for sizes in ([100, 300, 900], [900, 300, 100], [300, 900, 100]):
        simulcast = Simulcast()
        simulcast.run(3, sizes)
        assert simulcast.choice.current == sizes.index(900)


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


def test_when_everything_stops_the_choice_stays() -> None:
    simulcast = Simulcast()
    simulcast.run(2, [100, 300])
    switches = len(simulcast.switches)
    simulcast.run(5, [0, 0])
    assert len(simulcast.switches) == switches
    assert simulcast.choice.list_alive(simulcast.now) == []


def test_the_layers_that_live_are_told_by_their_cost() -> None:
    simulcast = Simulcast()
    simulcast.run(2, [900, 0, 300])
    assert simulcast.choice.list_alive(simulcast.now) == [2, 0]
