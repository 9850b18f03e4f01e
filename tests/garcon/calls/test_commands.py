"""The checks of the control calls' fields, without a host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from garcon.calls.commands import METRICS_LIMIT, CommandCalls
from garcon.parts import GarconParts
from guestlink.errors import GuestlinkError


class Host:
    """Stores the calls that reach the host."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def call_when_started(self, method: str, timeout: float | None = None, **fields: Any) -> Any:
        self.calls.append((method, fields))
        return SimpleNamespace(error=0)


async def _call(host: Host, name: str, **fields: Any) -> dict[str, Any]:
    parts = cast(GarconParts, SimpleNamespace(config=None, host=host, programs=None, publisher=None))
    return await CommandCalls(parts).handlers[name](fields)


CACHE = {"verb": "install", "app_id": 620, "mount": True, "wait": False}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        *(
            ("shader_cache", CACHE | wrong)
            for wrong in (
                {"verb": "unistall"},
                {"verb": ""},
                {"verb": None},
                {"app_id": "620"},
                {"app_id": True},
                {"app_id": -1},
                {"app_id": 1 << 64},
                {"mount": "false"},
                {"wait": 1},
            )
        ),
        ("shader_cache", {}),
        *(
            ("report_metrics", {"metrics": metrics})
            for metrics in (
                "a=1",
                None,
                ["a"],
                [["a"]],
                [["a", 1, 2]],
                [[1, 1]],
                [["a", "1"]],
                [["a", 1.0]],
                [["a", -1]],
                [["a", 1 << 64]],
                [["a", 1]] * (METRICS_LIMIT + 1),
            )
        ),
        ("open_url", {"url": 1}),
        ("open_terminal", {"params": ["a", 1]}),
    ],
)
async def test_a_wrong_field_is_refused_in_one_sentence_and_reaches_no_host(
    name: str, fields: dict[str, Any]
) -> None:
    host = Host()
    with pytest.raises(GuestlinkError) as refused:
        await _call(host, name, **fields)
    assert "\n" not in refused.value.message
    assert refused.value.hint
    assert host.calls == []


@pytest.mark.parametrize("verb", ["install", "unmount", "uninstall"])
async def test_an_action_on_a_shader_cache_is_the_call_of_its_name(verb: str) -> None:
    host = Host()
    await _call(host, "shader_cache", **CACHE | {"verb": verb})
    ((method, fields),) = host.calls
    assert method == f"{verb.capitalize()}ShaderCache"
    assert fields["steam_app_id"] == 620


async def test_as_many_metrics_as_the_host_accepts_are_reported_in_one_call() -> None:
    host = Host()
    metrics = [[f"m{number}", (1 << 64) - 1] for number in range(METRICS_LIMIT)]
    assert await _call(host, "report_metrics", metrics=metrics) == {"error": 0}
    ((_, fields),) = host.calls
    assert [(metric.name, metric.value) for metric in fields["metric"]] == [(name, -1) for name, _ in metrics]
