"""The command for a container's forwarded ports: ``ports``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from guestlink.control import ONE_VERSION
from guestlink.errors import GuestlinkError
from guestlink_host.border.ports.forward import FORWARD_LIMIT, Forward, forward_from, parse_forward
from guestlink_host.control.client import daemon
from guestlink_host.control.command import NAME, RIGHTS, Call, Command, Field, argument
from guestlink_host.control.printing import print_json
from guestlink_host.control.request_validation import choice, text

if TYPE_CHECKING:
    from guestlink_host.parts import HostParts

_SPEC = "[ADDRESS:]PORT[:PORT]"
_AUTO, _ALLOW = "auto", "allow"


def _ports(arguments: argparse.Namespace) -> int:
    def parsed(texts: list[str], *, back: bool) -> list[Any]:
        return [parse_forward(one, back=back, udp=arguments.udp).pack() for one in texts]

    given: dict[str, Any] = {
        "add": [*parsed(arguments.forward, back=False), *parsed(arguments.back, back=True)],
        "remove": [*parsed(arguments.remove, back=False), *parsed(arguments.remove_back, back=True)],
    }
    if arguments.udp and not any(given.values()):
        raise GuestlinkError("--udp says nothing alone", hint="name a forward, as in --forward 5353 --udp")
    policy = _AUTO if arguments.auto else _ALLOW if arguments.no_auto else None
    answer = daemon().call("ports", name=arguments.name, policy=policy, **given)
    if arguments.json:
        return print_json(answer)
    _print(arguments.name, answer)
    return 0


def _print(name: str, answer: dict[str, Any]) -> None:
    forwards = answer["forwards"]
    for one in forwards:
        kind = f", {one['kind']}" if one["kind"] == "udp" else ""
        back = "in the container to here" if one["back"] else "here to the container"
        state = one["problem"] or f"{one['connections']} connections"
        program = f" ({one['program']})" if one["program"] else ""
        by_itself = ", by itself" if one["automatic"] else ""
        print(f"{one['listen']} to {one['target']}{program}, {back}{kind}{by_itself}: {state}")
    if not forwards:
        print(f"no forwards; `guestlink-host ports {name} --forward 8080` adds one")
    if answer["listening"] is None:
        print("the container does not tell its listening ports")
        return
    for port in answer["listening"]:
        program = f" {port['program']}" if port["program"] else ""
        print(f"listening in the container: {port['address']}{program}")
    if not answer["listening"]:
        print("nothing listens in the container")


async def _serve_ports(
    parts: HostParts, name: str, policy: str | None, add: list[Forward], remove: list[Forward]
) -> dict[str, Any]:
    from guestlink.port_channel import TCP, PortEndpoint

    parts.services.guest(name)  # Raises if there is no such container.
    if add or remove:
        await parts.ports.change(name, add=add, remove=remove)
    # --no-auto leaves a policy that denies as it is.
    if policy is not None and not (policy == _ALLOW and parts.policies.value(name, "ports") != _AUTO):
        parts.policies.change(name, ports=policy)
    state = await parts.ports.describe(name)
    forwards = []
    for one in state["forwards"]:
        forward = forward_from(one["forward"])
        forwards.append(
            {
                "listen": str(forward.listen),
                "target": str(forward.target),
                "back": forward.back,
                "kind": forward.listen.kind,
                "automatic": one["automatic"],
                "program": one["program"],
                "problem": one["problem"],
                "connections": one["connections"],
            }
        )
    listening = state["listening"]
    if listening is not None:
        listening = [
            {"address": str(PortEndpoint(TCP, host, port)), "port": port, "program": program}
            for host, port, program in listening
        ]
    return {"policy": state["policy"], "forwards": forwards, "listening": listening}


def _forwards() -> Callable[[str, object], list[Forward]]:
    def check(key: str, value: object) -> list[Forward]:
        values = value or []
        try:
            if not isinstance(values, list) or len(values) > FORWARD_LIMIT:
                raise ValueError(f"there are more than {FORWARD_LIMIT}")
            return [forward_from(one) for one in values]
        except ValueError as error:
            raise GuestlinkError(f"the field {key} is no list of forwards: {error}", hint=ONE_VERSION) from error

    return check


COMMANDS = (
    Command(
        "ports",
        "show or set which ports are forwarded between this machine and the container",
        section=RIGHTS,
        details="A forward stays, also across restarts, until `--remove` ends it. Programs of this machine alone "
        "can connect to it, unless it has an ADDRESS; `*` means all. A path that begins with / is a Unix socket "
        "and takes the place of a port. Without a second PORT both are the same. `--auto` is `policy` NAME ports "
        "auto, and `--no-auto` ends it.",
        example="ports work --forward 8080:80",
        arguments=(
            NAME,
            argument(
                "--forward",
                nargs="+",
                action="extend",
                default=[],
                metavar=_SPEC,
                help="let programs here connect to PORT and reach the container's second PORT",
            ),
            argument(
                "--back",
                nargs="+",
                action="extend",
                default=[],
                metavar=_SPEC,
                help="let programs in the container connect to PORT there and reach this machine's second PORT",
            ),
            argument(
                "--remove", nargs="+", action="extend", default=[], metavar=_SPEC, help="end a forward of --forward"
            ),
            argument(
                "--remove-back",
                nargs="+",
                action="extend",
                default=[],
                metavar=_SPEC,
                help="end a forward of --back",
            ),
            argument("--udp", action="store_true", help="the forwards of this command are UDP ones"),
            argument(
                "--auto",
                action="store_true",
                group="auto",
                help="open every port on which the container listens at the same port of localhost, from now on",
            ),
            argument("--no-auto", action="store_true", group="auto", help="end --auto"),
        ),
        json_text="an object with `policy`; `forwards`, an array of objects with `listen`, `target`, `back` "
        "(whether programs in the container connect), `kind` (tcp, udp or unix), `automatic`, `program`, "
        "`problem`, a sentence, or empty, and `connections`; and `listening`, an array of objects with `address`, "
        "`port` and `program`, or null if the container does not tell",
        run=_ports,
        call=Call(
            _serve_ports,
            (
                Field("name", text),
                Field("policy", choice("policy ports", (_AUTO, _ALLOW))),
                Field("add", _forwards()),
                Field("remove", _forwards()),
            ),
        ),
    ),
)
