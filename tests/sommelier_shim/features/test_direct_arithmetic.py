"""Direct scale: its arithmetic (chromeos-sommelier.md §3.3 and §9), and the positions of outputs under it."""

from __future__ import annotations

import pytest

from sommelier_shim.features.scaling.arithmetic import Axis
from sommelier_shim.features.scaling.arrangement import Place, arranged
from sommelier_shim.features.scaling.outputs import DirectOutputs, HostOutput, Outputs
from sommelier_shim.features.scaling.surface_axis import SurfaceAxis


def _direct(guest: float, host: float = 1, *, stable: bool = False) -> Axis:
    return Axis(guest, host, stable, direct=True)


# -- arithmetic (§9.1) -------------------------------------------------------------------------------------------


def test_a_destination_is_rounded_and_never_nothing() -> None:
    """chromeos-sommelier.md §9.1."""
    assert [_direct(2).destination(16), _direct(4).destination(16)] == [8, 4]
    assert _direct(2).destination(1) == 1, "never nothing"


def test_damage_covers_every_unit_that_it_touches() -> None:
    """chromeos-sommelier.md §9.1."""
    assert _direct(1).damage(16, 16) == (16, 16)
    # The original truncates the far edge like the near one, and loses up to one unit of the damage.
    assert _direct(2).damage(16, 16, 1.6) == (5, 5)
    assert _direct(4).damage(16, 16, 1.6) == (2, 3)
    assert _direct(2, stable=True).damage(-3, 3) == (-2, 2)
    assert _direct(2).damage(-3, 3) == (-1, 2)


def test_a_size_comes_back_as_it_was() -> None:
    """x by 0.9 and y by 1.6, as in the original's tests with stable scaling (chromeos-sommelier.md §9.1)."""
    axes = _direct(0.9, stable=True), _direct(1.6, stable=True)
    assert [axis.to_guest(16) for axis in axes] == [15, 26]
    assert [axis.to_host(value) for axis, value in zip(axes, (15, 26), strict=True)] == [16, 16]


def test_a_direct_scale_cuts_unless_it_is_stable() -> None:
    assert (_direct(1.6).to_guest(16), _direct(1.6).to_host(27)) == (25, 16)
    assert (_direct(1.6, stable=True).to_guest(16), _direct(1.6, stable=True).to_host(-27)) == (26, -17)


def test_a_whole_ratio_converts_exactly_into_itself() -> None:
    for guest in range(1, 400, 7):
        for host in range(1, 400, 11):
            axis = _direct(guest, host)
            assert (axis.to_guest(host), axis.to_host(guest)) == (guest, host)


# -- sizes that stay (§3.3) --------------------------------------------------------------------------------------


def test_a_size_of_the_hosts_comes_back_as_it_was() -> None:
    for size in range(1, 2000):
        axis = SurfaceAxis(_direct(16, 10))
        told = axis.size_to_guest(size)
        assert told == int(size * 1.6)
        assert axis.size_to_host(told) == axis.destination(told) == size


def test_a_size_of_the_clients_is_told_again_as_it_was() -> None:
    for size in range(1, 2000):
        axis = SurfaceAxis(_direct(16, 10))
        assert axis.size_to_guest(axis.destination(size)) == size


def test_inside_a_surface_the_ratio_counts_in_which_it_is_shown() -> None:
    axis = SurfaceAxis(_direct(16, 10))
    assert axis.destination(161) == 100
    assert axis.fixed_to_guest(100 * 256) == 161 * 256
    assert axis.to_host(161) == 100
    assert axis.destination(322, 2) == 100
    assert axis.fixed_to_guest(100 * 256) == 161 * 256


def test_a_client_that_is_some_configures_behind_means_what_it_was_told() -> None:
    axis = SurfaceAxis(_direct(16, 10))
    told = [axis.size_to_guest(size) for size in (101, 103, 106)]
    assert [axis.size_to_host(size) for size in told] == [101, 103, 106]


def test_a_part_of_a_surface_as_large_as_the_whole_is_shown_as_large() -> None:
    axis, part = SurfaceAxis(_direct(16, 10)), SurfaceAxis(_direct(16, 10))
    part.parent = axis
    assert axis.size_to_guest(101) == 161
    assert part.destination(161) == 101


def test_on_another_output_what_is_shown_stays_until_it_is_another_size() -> None:
    axis = SurfaceAxis(_direct(2))
    assert axis.size_to_guest(100) == 200
    assert axis.rebase(_direct(1), keeps=True)
    assert axis.destination(200) == 100
    assert axis.size_to_guest(100) == 100
    assert not axis.rebase(_direct(1), keeps=True)
    assert axis.rebase(_direct(2), keeps=False)
    assert axis.destination(100) == 50


def test_what_is_remembered_of_sizes_is_bounded() -> None:
    axis = SurfaceAxis(_direct(16, 10))
    for size in range(1, 5000):
        axis.size_to_guest(size)
        axis.size_to_host(size)
    assert len(axis._request_pairs.hosts) <= 8
    assert len(axis._request_pairs.guests) <= 8


# -- outputs (§9.2) ----------------------------------------------------------------------------------------------


def _output(x: int, zoom: float, transform: int = 0, y: int = 0) -> HostOutput:
    output = HostOutput()
    output.pixels, output.zoom, output.transform, output.x, output.y = (1920, 1080), zoom, transform, x, y
    return output


def _positions(*outputs: HostOutput) -> list[tuple[int, int]]:
    known = Outputs()
    known.by_name.update(enumerate(outputs))
    describer = DirectOutputs(1.0)
    return [describer.described(output, known).position for output in outputs]


def test_outputs_follow_each_other_by_their_pixels() -> None:
    """chromeos-sommelier.md §9.2."""
    left, middle, right = _output(-800, 0.75, 1), _output(640, 1), _output(2560, 1.25)
    assert _positions(left, middle, right) == [(0, 0), (1080, 0), (3000, 0)]
    assert _positions(right, left, middle) == [(3000, 0), (0, 0), (1080, 0)]
    assert _positions(middle, right) == [(0, 0), (1920, 0)], "one is removed"
    left.transform = 0
    assert _positions(left, middle, right) == [(0, 0), (1920, 0), (3840, 0)], "one is turned"
    left.x = 5000
    assert _positions(left, middle, right) == [(3840, 0), (0, 0), (1920, 0)], "one is moved"


def test_outputs_above_each_other_stay_above_each_other() -> None:
    """The original puts these in a row (chromeos-sommelier.md §8.2.11)."""
    assert _positions(_output(0, 1), _output(0, 2, y=1080)) == [(0, 0), (0, 1080)]
    # Two in the upper row, one below the right one.
    below = _output(1920, 1.5, y=1080)
    assert _positions(_output(0, 1), _output(1920, 1), below) == [(0, 0), (1920, 0), (1920, 1080)]


def test_outputs_that_mirror_each_other_do_not_overlap() -> None:
    assert _positions(_output(0, 1), _output(0, 1)) == [(0, 0), (1920, 0)]


@pytest.mark.parametrize("sizes", [((10, 10), (30, 20), (5, 5)), ((1, 1), (1, 1), (90, 90))])
def test_arranged_outputs_do_not_overlap(sizes: tuple[tuple[int, int], ...]) -> None:
    for places in (
        [Place(0, 0, 20, 20), Place(20, 5, 10, 10), Place(3, 20, 20, 20)],
        [Place(10, 10, 10, 10), Place(0, 0, 10, 10), Place(20, 15, 4, 4)],
        [Place(0, 0, 100, 10), Place(0, 10, 50, 50), Place(50, 10, 50, 50)],
    ):
        found = arranged(places, sizes)
        for one in range(3):
            for other in range(one):
                assert any(
                    found[a][axis] + sizes[a][axis] <= found[b][axis]
                    for a, b in ((one, other), (other, one))
                    for axis in (0, 1)
                ), (places, found)


def test_an_output_has_its_pixels_its_physical_size_and_no_scale() -> None:
    output = _output(0, 1.25)
    output.millimetres = (344, 193)
    described = DirectOutputs(1.0).described(output, Outputs())
    assert (described.mode, described.logical, described.scale) == ((1920, 1080), (1920, 1080), 1)
    assert described.millimetres == (344, 193)


def test_the_low_density_has_half_as_many_units_as_pixels() -> None:
    output = _output(0, 2)
    output.logical_size = (960, 540)
    direct = DirectOutputs(0.5)
    assert direct.described(output, Outputs()).mode == (960, 540)
    assert [(axis.guest, axis.host) for axis in direct.axes(output)] == [(960, 960), (540, 540)]


def test_the_ratio_of_an_output_is_exact_in_both_axes() -> None:
    output = _output(0, 0)
    output.logical_size = (1097, 617)  # 1.75
    across, down = DirectOutputs(1.0).axes(output)
    assert (across.to_guest(1097), down.to_guest(617)) == (1920, 1080)
    output.transform, output.logical_size = 1, (617, 1097)
    across, down = DirectOutputs(1.0).axes(output)
    assert (across.to_guest(617), down.to_guest(1097)) == (1080, 1920)


def test_a_window_that_comes_back_has_the_sizes_that_it_had() -> None:
    """603 pixels become 301.5 units, rounded down to 301; converting 301 units back would give 602 pixels."""
    axis = SurfaceAxis(_direct(2))
    assert axis.destination(603) == 301
    for base in (_direct(3, 2), _direct(1), _direct(2)):
        assert axis.rebase(base, keeps=True)
        assert axis.settle(base)
    assert axis.size_to_guest(301) == 603
    assert axis.destination(603) == 301


def test_what_was_said_before_an_answer_is_in_the_old_pixels() -> None:
    axis = SurfaceAxis(_direct(2))
    axis.destination(600)
    axis.rebase(_direct(1), keeps=True)
    assert axis.size_to_guest(300) == 300
    assert axis.destination(600) == 300
    assert axis.settle(_direct(1))
    assert axis.destination(600) == 600
    for number in range(50):
        axis.rebase(_direct(2 + number), keeps=True)
    assert len(axis._pairs) <= 4
