"""ssh into a container takes nothing of the user's along."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from guestlink_host.vsh.ssh_access import stanza
from support.needs import need


def test_the_ssh_stanza_forwards_neither_agent_nor_x11(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("ssh", "ssh-keygen", packages="openssh-client")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    config = tmp_path / "config"
    careless = "Host *\n    ForwardAgent yes\n    ForwardX11 yes\n"
    config.write_text(stanza("work", "user", ["vsh"]) + careless)
    words = ["ssh", "-G", "-F", str(config), "work.guestlink"]
    answer = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    assert {"forwardagent no", "forwardx11 no"} <= set(answer)
