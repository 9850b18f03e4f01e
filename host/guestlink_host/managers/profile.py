"""The LXD and Incus profile: containers that have it install Guestlink, adopt it and register by themselves.

The profile holds what is the same for every container. The host's daemon polls for containers whose configuration
names its user, and adds the rest: each container's directory and token.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guestlink.errors import GuestlinkError
from guestlink_host.managers.install_script import PACKAGES_AS, Source, install_script, package_files
from guestlink_host.managers.lxd import WANTED_KEY, node_devices

PROFILE = "guestlink"


def profile(source: Source, gpu: Sequence[Path]) -> str:
    """The profile in YAML, for ``lxc profile edit`` and ``incus profile edit``.

    :param gpu: device nodes of the host to mount in the containers.
    :raises GuestlinkError: the key or the packages cannot be used.
    """
    devices: dict[str, Any] = node_devices(gpu)
    if source.packages is not None:
        package_files(source.packages)
        if source.packages.stat().st_mode & 0o005 != 0o005:
            raise GuestlinkError(
                f"containers may not read {source.packages}", hint=f"let them: chmod o+rx {source.packages}"
            )
        devices["guestlink-packages"] = {
            "type": "disk",
            "source": str(source.packages),
            "path": PACKAGES_AS,
            "readonly": "true",
        }
    value = {
        "name": PROFILE,
        "description": "Guestlink: applications of these containers appear on the host's desktop",
        # Vendor data, so that user data stays free for the user; a script, so that no list in the user data
        # replaces one of ours. The script writes the files itself: cloud-init's own modules need more than images
        # have.
        "config": {WANTED_KEY: str(os.getuid()), "cloud-init.vendor-data": install_script(source)},
        "devices": devices,
    }
    return _yaml(value)


def _yaml(value: Mapping[str, Any]) -> str:
    """YAML without a library: JSON is YAML too; only a text of several lines becomes a block, to be readable."""
    lines: list[str] = []
    for key, part in value.items():
        if not isinstance(part, Mapping) or not part:
            lines.append(f"{key}: {json.dumps(part)}")
            continue
        lines.append(f"{key}:")
        for name, inner in part.items():
            if isinstance(inner, str) and "\n" in inner:
                lines.append(f"  {name}: |")
                lines += [f"    {line}" for line in inner.splitlines()]
            else:
                lines.append(f"  {name}: {json.dumps(inner)}")
    return "\n".join(lines) + "\n"
