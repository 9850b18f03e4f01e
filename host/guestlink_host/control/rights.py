"""The commands for a container's rights on this desktop: ``policy`` and ``share``."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from guestlink.errors import GuestlinkError
from guestlink_host.border.policies import POLICIES
from guestlink_host.control.client import daemon
from guestlink_host.control.command import NAME, RIGHTS, Call, Command, Field, argument
from guestlink_host.control.printing import print_json
from guestlink_host.control.request_validation import choice, folder, text

if TYPE_CHECKING:
    from guestlink_host.parts import HostParts


def _policy(arguments: argparse.Namespace) -> int:
    change = {arguments.what: arguments.policy} if arguments.policy else {}
    policies = daemon().call("policy", name=arguments.name, **change)
    if arguments.what and not arguments.policy:
        policies = {arguments.what: policies[arguments.what]}
    if arguments.json:
        return print_json(policies)
    for what, policy in policies.items():
        print(f"{what}: {policy}")
    return 0


async def _serve_policy(parts: HostParts, name: str, **policies: str | None) -> dict[str, Any]:
    if change := {key: value for key, value in policies.items() if value is not None}:
        parts.policies.change(name, **change)
    return parts.policies.values(name)


def _share(arguments: argparse.Namespace) -> int:
    if "" in (arguments.host, arguments.inside, arguments.forget):
        raise GuestlinkError("the folder's name is empty", hint="leave it out to list the shared folders")
    if arguments.host and not os.path.isdir(arguments.host):
        raise GuestlinkError(
            f"{arguments.host} is no folder of this machine", hint="create it first, or check the spelling"
        )
    change = {
        "host": os.path.abspath(arguments.host) if arguments.host else None,
        "inside": arguments.inside,
        "forget": os.path.abspath(arguments.forget) if arguments.forget else None,
    }
    shares = daemon().call("share", name=arguments.name, **change)["shares"]
    if arguments.json:
        return print_json(shares)
    for share in shares:
        print(f"{share['host']}  as  {share['inside']}")
    return 0


async def _serve_share(
    parts: HostParts, name: str, host: str | None, inside: str | None, forget: str | None
) -> dict[str, Any]:
    from guestlink_host.border.url_policy import Share
    from guestlink_host.containers.registry import SHARE_LIMIT

    if inside is not None and host is None:
        raise GuestlinkError(
            f"the call shares no folder of this machine as {inside}", hint="give the field host, too"
        )
    guest = parts.services.guest(name)
    shares = {share.host: share for share in guest.container.shares}
    if host is not None:
        shares[host] = Share(host, inside or host)
        if len(shares) > SHARE_LIMIT:
            raise GuestlinkError(f"there are {SHARE_LIMIT} shared folders already", hint="forget one first")
    if forget is not None and shares.pop(forget, None) is None:
        raise GuestlinkError(
            f"{forget} is not shared with {name}", hint=f"`guestlink-host share {name}` lists the shared folders"
        )
    if host is not None or forget is not None:
        guest.container = parts.containers.change(name, shares=tuple(shares.values()))
    return {"shares": [share._asdict() for share in shares.values()]}


_VALUES = tuple(dict.fromkeys(value for policy in POLICIES.values() for value in policy.values))

COMMANDS = (
    Command(
        "policy",
        "show or set what a container may do on this desktop",
        section=RIGHTS,
        details="The policies are "
        + "; ".join(f"`{key}` ({', '.join(policy.values)}): to {policy.about}" for key, policy in POLICIES.items())
        + ". With mime deny, launchers carry a file type only where this machine names another default for it.",
        example="policy work url ask",
        arguments=(
            NAME,
            argument("what", nargs="?", choices=tuple(POLICIES), help="the policy (default: print all)"),
            argument(
                "policy",
                nargs="?",
                choices=_VALUES,
                completes="policy-values",
                help="its new value (default: print the present one)",
            ),
        ),
        json_text="an object with a field for each policy",
        run=_policy,
        call=Call(
            _serve_policy,
            (
                Field("name", text),
                *(Field(key, choice(f"policy {key}", policy.values)) for key, policy in POLICIES.items()),
            ),
        ),
    ),
    Command(
        "share",
        "show or set folders of this machine that the container sees, and their paths inside",
        section=RIGHTS,
        details="The command mounts nothing: the container's manager has to mount the folders.",
        example="share work ~/Documents /mnt/documents",
        arguments=(
            NAME,
            argument("host", nargs="?", metavar="FOLDER", help="a folder of this machine"),
            argument("inside", nargs="?", metavar="INSIDE", help="its path inside (default: the same)"),
            argument("--forget", metavar="FOLDER", help="remove this folder from the list of shared folders"),
        ),
        json_text="an array of objects with `host` and `inside`",
        run=_share,
        call=Call(
            _serve_share,
            (Field("name", text), Field("host", folder), Field("inside", folder), Field("forget", folder)),
        ),
    ),
)
