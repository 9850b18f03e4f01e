"""The parts of the running daemon that serve the commands' control calls."""

from __future__ import annotations

from typing import NamedTuple

from guestlink.config import Config
from guestlink.service import Notifier
from guestlink_host.border.ports.port_border import PortBorder
from guestlink_host.border.sound.sound_border import SoundBorder
from guestlink_host.border.wayland_access import WaylandAccess
from guestlink_host.containers.container_policies import ContainerPolicies
from guestlink_host.containers.container_services import ContainerServices
from guestlink_host.containers.event_log import EventLog
from guestlink_host.containers.registry import Containers
from guestlink_host.managers.attachments import Attachments


class HostParts(NamedTuple):
    """What a control call may use.

    :ivar containers: the registry.
    :ivar policies: what its containers may do here.
    :ivar services: serves the containers of the registry.
    :ivar attachments: the container managers.
    :ivar wayland: the containers' Wayland sockets.
    :ivar sound: the containers' sound sockets.
    :ivar ports: the containers' forwarded ports.
    :ivar notifier: has the daemon's status as a sentence.
    """

    config: Config
    containers: Containers
    policies: ContainerPolicies
    services: ContainerServices
    attachments: Attachments
    wayland: WaylandAccess
    sound: SoundBorder
    ports: PortBorder
    events: EventLog
    notifier: Notifier
