"""sommelier_shim.xwayland.x11_units."""

from __future__ import annotations

import pytest

from sommelier_shim.core.hooks import Hooks
from sommelier_shim.features.scaling.outputs import HostOutput, Outputs
from sommelier_shim.xwayland.x11_units import NearestAxis, X11Surface, X11Units


def _output(pixels: tuple[int, int], logical: tuple[int, int], position: tuple[int, int]) -> HostOutput:
    output = HostOutput()
    output.pixels, output.logical_size, output.logical_position = pixels, logical, position
    return output


def _units(wanted: float = 1.0, *, has_viewporter: bool = True) -> X11Units:
    units = X11Units(wanted)
    units.install(Hooks(), has_viewporter=has_viewporter, places={})
    return units


def _outputs(*outputs: HostOutput) -> Outputs:
    found = Outputs()
    found.by_name = dict(enumerate(outputs))
    return found


def test_every_output_has_the_density_of_the_densest_and_none_is_left_of_the_corner() -> None:
    left = _output((1920, 1080), (1280, 720), (-1280, 0))
    middle = _output((1280, 720), (1280, 720), (0, 0))
    right = _output((2560, 1440), (1280, 720), (1280, 0))
    outputs, units = _outputs(middle, right, left), _units()
    found = [units.described(output, outputs) for output in (left, middle, right)]
    assert [one.position for one in found] == [(0, 0), (2560, 0), (5120, 0)]
    assert {(one.mode, one.logical, one.scale) for one in found} == {((2560, 1440), (2560, 1440), 1)}
    assert units.density == 192
    assert {one.millimetres for one in found} == {(339, 190)}


def test_nothing_is_decided_before_the_host_has_described_every_output() -> None:
    first, second = _output((1280, 720), (1280, 720), (0, 0)), _output((0, 0), (0, 0), (0, 0))
    outputs, units = _outputs(first, second), _units()
    second.logical_size = None
    second.sources[7] = "zxdg_output_v1"
    assert not units.is_ready(outputs)
    second.pixels = (1800, 1200)
    assert not units.is_ready(outputs)
    second.logical_size = (1200, 800)
    assert units.is_ready(outputs)


def test_a_rotated_output_has_its_mode_unrotated() -> None:
    output = _output((1920, 1080), (1080, 1920), (0, 0))
    output.transform = 1
    described = _units().described(output, _outputs(output))
    assert (described.mode, described.logical) == ((1920, 1080), (1080, 1920))


@pytest.mark.parametrize(
    ("wanted", "has_viewporter", "size", "density"),
    [(1.0, True, (2560, 1440), 144), (0.5, True, (1280, 720), 72), (1.0, False, (1707, 960), 96)],
)
def test_the_scale_counts_from_the_densest_outputs_pixels(
    wanted: float, has_viewporter: bool, size: tuple[int, int], density: int
) -> None:
    output = _output((2560, 1440), (1707, 960), (0, 0))
    units = _units(wanted, has_viewporter=has_viewporter)
    assert abs(units.described(output, _outputs(output)).mode[0] - size[0]) <= 1
    assert units.density == density


def test_the_built_in_panel_decides_where_the_host_names_it() -> None:
    panel, other = _output((1500, 1000), (1000, 667), (0, 0)), _output((2000, 1000), (1000, 500), (1000, 0))
    panel.is_internal = True
    units = _units()
    assert units.described(other, _outputs(panel, other)).mode == (1500, 750)


@pytest.mark.parametrize("factor", [1.0, 1.25, 1.5, 1.75, 2.0, 3.0])
def test_a_size_of_the_host_comes_back(factor: float) -> None:
    axis = NearestAxis(factor)
    for size in range(-300, 3000):
        assert axis.to_host(axis.to_guest(size)) == size
    for size in range(1, 3000):
        assert axis.destination(axis.size_to_guest(size)) == size


def test_contents_that_answer_the_host_have_its_size() -> None:
    surface = X11Surface(_units(0.5).scale)
    surface.contents, surface.decided = (2, 3), ((2, 3), (5, 6))
    assert surface.shown_size() == (5, 6)
    surface.contents = (20, 30)
    assert surface.shown_size() == (20, 30)
