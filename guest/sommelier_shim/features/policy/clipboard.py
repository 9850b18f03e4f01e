"""Clipboard policy: the directions in which selections and drags may pass: both, to the host, to the guest, or off.

Programs send the contents through pipes, which the proxy does not touch; the policy drops the offers of a closed
direction. Programs in the container exchange selections through the host as well, so a closed direction closes it
for them, too.
"""

from __future__ import annotations

from sommelier_shim.core.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.core.layouts import MessageLayout, event, request
from sommelier_shim.core.relay import Flow, Hook
from sommelier_shim.core.wire import Buffer

_OFFERS = {
    "zwp_primary_selection_device_v1": ("zwp_primary_selection_offer_v1", ("selection",)),
    "gtk_primary_selection_device": ("gtk_primary_selection_offer", ("selection",)),
    "zwlr_data_control_device_v1": ("zwlr_data_control_offer_v1", ("selection", "primary_selection")),
    "ext_data_control_device_v1": ("ext_data_control_offer_v1", ("selection", "primary_selection")),
}
"""By selection device: the interface of its offers, and its events with an offer."""

_SOURCES = {
    "wl_data_device": ("wl_data_source", ("set_selection", "start_drag")),
    "zwp_primary_selection_device_v1": ("zwp_primary_selection_source_v1", ("set_selection",)),
    "gtk_primary_selection_device": ("gtk_primary_selection_source", ("set_selection",)),
    "zwlr_data_control_device_v1": ("zwlr_data_control_source_v1", ("set_selection", "set_primary_selection")),
    "ext_data_control_device_v1": ("ext_data_control_source_v1", ("set_selection", "set_primary_selection")),
}
"""By selection device: the interface of its sources, and its requests that offer a source to the host."""

_DRAG_DEVICE = "wl_data_device"
_HIDDEN: FeatureKey[dict[int, int]] = FeatureKey("hidden offers", dict)
"""Offers that the client has not received and that may belong to a drag, by host id of
the wl_data_device."""


def install(hooks: Hooks, policy: str) -> None:
    """Install the hooks that close directions.

    :param policy: ``both``, ``to-host``, ``to-guest`` or ``off``.
    """
    if policy in ("to-host", "off"):
        _install_for_drags(hooks)
        for device, (offer, names) in _OFFERS.items():
            hooks.on_event(device, "data_offer", _hide_offer(device, offer), Phase.REPLACE)
            for name in names:
                hooks.on_event(device, name, _without_offer(event(device, name), offer), Phase.REPLACE)
    if policy in ("to-guest", "off"):
        for device, (source, names) in _SOURCES.items():
            for name in names:
                hooks.on_request(device, name, _refuse_source(request(device, name), source), Phase.REPLACE)


def _hide_offer(device: str, interface: str) -> Hook:
    read_id = event(device, "data_offer").reader(event(device, "data_offer").arguments[0])
    destroy = request(interface, "destroy")

    def hide(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        (offer,) = read_id(flow.buffer, at)
        flow.relay.hide_from_client(offer, interface)
        flow.relay.to_host(destroy.encode(offer), None)
        return b""

    return hide


def _install_for_drags(hooks: Hooks) -> None:
    """Hide a drag's offer from the client, and destroy it only when the drag has left the client's windows.

    For the host, destroying the offer earlier refuses the drag for good; but the drag may have started in the
    client itself, and its target may be another program.
    """
    destroy = request("wl_data_offer", "destroy")
    read_data_offer = event(_DRAG_DEVICE, "data_offer").reader("id")
    read_selection = event(_DRAG_DEVICE, "selection").reader("id")
    write_selection = event(_DRAG_DEVICE, "selection").writer("id")
    write_enter = event(_DRAG_DEVICE, "enter").writer("id")

    def forget(flow: Flow, object_id: int) -> None:
        offer = _HIDDEN.of(flow.relay).pop(object_id, 0)
        if offer:
            flow.relay.to_host(destroy.encode(offer), None)

    def hide(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        forget(flow, object_id)
        (offer,) = read_data_offer(flow.buffer, at)
        flow.relay.hide_from_client(offer, "wl_data_offer")
        _HIDDEN.of(flow.relay)[object_id] = offer
        return b""

    def enter(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        write_enter(flow.buffer, at, 0)
        return None

    def selection(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        (offer,) = read_selection(flow.buffer, at)
        if offer and offer == _HIDDEN.of(flow.relay).get(object_id):
            forget(flow, object_id)
        write_selection(flow.buffer, at, 0)
        return None

    def over(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        forget(flow, object_id)
        return None

    def release(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        forget(flow, flow.relay.host_id(object_id))
        return None

    for name, hook in (("data_offer", hide), ("enter", enter), ("selection", selection)):
        hooks.on_event(_DRAG_DEVICE, name, hook, Phase.REPLACE)
    hooks.on_event(_DRAG_DEVICE, "leave", over, Phase.OBSERVE)
    hooks.on_event(_DRAG_DEVICE, "drop", over, Phase.OBSERVE)
    hooks.on_request(_DRAG_DEVICE, "release", release, Phase.OBSERVE)


def _without_offer(message: MessageLayout, interface: str) -> Hook:
    write_offer = message.writer(message.argument_of(interface))

    def replace(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        write_offer(flow.buffer, at, 0)
        return None

    return replace


def _refuse_source(message: MessageLayout, interface: str) -> Hook:
    cancelled = event(interface, "cancelled")
    read_source = message.reader(message.argument_of(interface))

    def refuse(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        (source,) = read_source(flow.buffer, at)
        if not source and message.name == "start_drag":
            return None  # without a source, only the client itself receives the drag's events
        if flow.relay.interface(source) == interface:
            flow.relay.to_client(cancelled.encode(source), None)
        return b""

    return refuse
