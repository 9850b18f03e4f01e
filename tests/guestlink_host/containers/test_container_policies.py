"""guestlink_host.containers.container_policies: a container's own values, the settings' values, and watchers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guestlink_host.border.policies import POLICIES
from guestlink_host.containers.container_policies import ContainerPolicies
from guestlink_host.containers.registry import Containers
from guestlink_host.settings import load_settings


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    containers = Containers(tmp_path / "state", tmp_path / "run")
    containers.add("work")
    containers.add("play")
    return containers


def _policies(containers: Containers, **environ: str) -> ContainerPolicies:
    return ContainerPolicies(containers, load_settings(environ))


def test_a_container_without_values_of_its_own_has_those_of_the_settings(containers: Containers) -> None:
    policies = _policies(containers, GUESTLINK_HOST_URL_POLICY="ask")
    policies.change("play", url="deny")
    assert (policies.value("work", "url"), policies.value("play", "url")) == ("ask", "deny")
    assert set(policies.values("work")) == set(POLICIES)


def test_only_a_change_reaches_the_watchers_of_its_policy(containers: Containers) -> None:
    policies = _policies(containers)
    seen: list[tuple[str, str]] = []
    policies.watch("mime", lambda name, value: seen.append((name, value)))
    policies.change("work", mime="deny", url="deny")
    policies.change("work", mime="allow")
    assert seen == [("work", "allow")]
    with pytest.raises(KeyError):
        policies.watch("colour", lambda name, value: None)


def test_values_survive_a_restart_and_so_do_those_of_an_earlier_build(
    containers: Containers, tmp_path: Path
) -> None:
    _policies(containers).change("work", terminal="ask")
    path = tmp_path / "state" / "containers.json"
    stored = json.loads(path.read_text())
    del stored["containers"]["play"]["policies"]
    stored["containers"]["play"] |= {"url_policy": "deny", "terminal_policy": "", "mime_policy": "allow"}
    path.write_text(json.dumps(stored))
    again = Containers(tmp_path / "state", tmp_path / "run")
    assert again["work"].policies == {"terminal": "ask"}
    assert again["play"].policies == {"url": "deny", "mime": "allow"}
