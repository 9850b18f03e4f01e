"""The LXD and Incus profile: containers that have it install Guestlink, adopt it and register, all by themselves.

The profile holds what is the same for every container. The directory and the token, which are not, are added by the
host's daemon, which looks for containers whose configuration names its user.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from guestlink.errors import GuestlinkError
from guestlink_host.managers.lxd import WANTED_KEY, node_devices

PROFILE = "guestlink"
PACKAGES_AS = "/opt/guestlink-packages"
"""Where a container sees a directory of packages of the host's."""
_KEY_LIMIT = 64 * 1024
_INSTALL = (
    f"cd {PACKAGES_AS} && if command -v apt-get >/dev/null; then apt-get install -y ./*.deb; "
    "elif command -v dnf >/dev/null; then dnf install -y ./*.rpm; "
    "else pacman -U --noconfirm --needed ./*.pkg.tar.*[!g]; fi"
)
_SUFFIXES = (".deb", ".rpm", ".pkg.tar.zst", ".pkg.tar.xz")
_RPM_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-guestlink"


class Source(NamedTuple):
    """Where a container gets Guestlink's packages; with nothing set, from the archives that its image knows.

    :ivar apt: the address of an apt repository, as it stands behind ``deb``.
    :ivar dnf: the address of a dnf repository.
    :ivar key: a file with the repositories' public key.
    :ivar packages: a directory of the host's with package files; needs no network if the image has the rest.
    """

    apt: str = ""
    dnf: str = ""
    key: Path | None = None
    packages: Path | None = None


def profile(source: Source, gpu: Sequence[Path]) -> str:
    """The profile, as ``lxc profile edit`` and ``incus profile edit`` read it.

    :param gpu: device nodes of the host that containers get.
    :raises GuestlinkError: the key or the packages cannot be used.
    """
    devices: dict[str, Any] = node_devices(gpu)
    if source.packages is not None:
        _check_packages(source.packages)
        devices["guestlink-packages"] = {
            "type": "disk",
            "source": str(source.packages),
            "path": PACKAGES_AS,
            "readonly": "true",
        }
    value = {
        "name": PROFILE,
        "description": "Guestlink: applications of these containers appear on the host's desktop",
        "config": {WANTED_KEY: str(os.getuid()), "cloud-init.vendor-data": _cloud_config(source)},
        "devices": devices,
    }
    return _yaml(value)


def _cloud_config(source: Source) -> str:
    """What cloud-init does at the first start. Vendor data, so that the user's own user data stays free."""
    key = _read_key(source.key) if source.key is not None else ""
    config: dict[str, Any] = {}
    if source.apt:
        # cloud-init puts the key into a file and its path into the line.
        entry = {"source": f"deb {'[signed-by=$KEY_FILE] ' if key else ''}{source.apt}"}
        config["apt"] = {"sources": {"guestlink.list": entry | ({"key": key} if key else {})}}
    if source.dnf:
        repository = {"name": "Guestlink", "baseurl": source.dnf, "enabled": True, "gpgcheck": bool(key)}
        if key:
            repository["gpgkey"] = f"file://{_RPM_KEY}"
            config["write_files"] = [{"path": _RPM_KEY, "content": key, "permissions": "0644"}]
        config["yum_repos"] = {"guestlink": repository}
    commands: list[list[str]] = []
    if source.packages is None:
        config |= {"package_update": True, "packages": ["guestlink"]}
    else:
        commands.append(["sh", "-c", _INSTALL])
    config["runcmd"] = [*commands, ["guestlink", "adopt"]]
    return "".join(["#cloud-config\n", *(f"{name}: {json.dumps(value)}\n" for name, value in config.items())])


def _read_key(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            key = stream.read(_KEY_LIMIT)
    except OSError as error:
        raise GuestlinkError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if not key.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        raise GuestlinkError(
            f"{path} is no public key in text form", hint="make one with `gpg --armor --export NAME`"
        )
    return key.decode(errors="replace")


def _check_packages(path: Path) -> None:
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    if not any(name.startswith("guestlink") and name.endswith(_SUFFIXES) for name in names):
        raise GuestlinkError(
            f"{path} holds no packages of Guestlink", hint="build them there, for example with packaging/build-deb"
        )
    if path.stat().st_mode & 0o005 != 0o005:
        raise GuestlinkError(f"containers may not read {path}", hint=f"let them: chmod o+rx {path}")


def _yaml(value: Mapping[str, Any]) -> str:
    """YAML without a library: JSON is YAML too; only a text of several lines becomes a block, for people."""
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
