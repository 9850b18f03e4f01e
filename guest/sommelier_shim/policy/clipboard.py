"""Clipboard policy: the directions in which selections and drags may pass: both, to the host, to the guest, or off.

Programs send the contents through pipes, which the proxy does not touch; the policy drops the offers of a closed
direction. Programs in the container exchange selections through the host as well, so a closed direction closes it
for them, too.
"""

from __future__ import annotations

from sommelier_shim.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.layouts import interface_layout, is_known
from sommelier_shim.relay import Flow, Hook
from sommelier_shim.wire import UINT, Buffer, encode

_OFFERS = {
    "zwp_primary_selection_device_v1": ("zwp_primary_selection_offer_v1", {"selection": 8}),
    "gtk_primary_selection_device": ("gtk_primary_selection_offer", {"selection": 8}),
    "zwlr_data_control_device_v1": ("zwlr_data_control_offer_v1", {"selection": 8, "primary_selection": 8}),
    "ext_data_control_device_v1": ("ext_data_control_offer_v1", {"selection": 8, "primary_selection": 8}),
}
"""By selection device: the interface of its offers, and its events with an offer, with the offset of the offer's
id."""

_SOURCES = {
    ("wl_data_device", "set_selection"): "wl_data_source",
    ("wl_data_device", "start_drag"): "wl_data_source",
    ("zwp_primary_selection_device_v1", "set_selection"): "zwp_primary_selection_source_v1",
    ("gtk_primary_selection_device", "set_selection"): "gtk_primary_selection_source",
    ("zwlr_data_control_device_v1", "set_selection"): "zwlr_data_control_source_v1",
    ("zwlr_data_control_device_v1", "set_primary_selection"): "zwlr_data_control_source_v1",
    ("ext_data_control_device_v1", "set_selection"): "ext_data_control_source_v1",
    ("ext_data_control_device_v1", "set_primary_selection"): "ext_data_control_source_v1",
}
"""By request that offers a source to the host: the interface of the source, which is the first argument."""

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
        for device, (offer, naming) in _OFFERS.items():
            if is_known(device):
                hooks.on_event(device, "data_offer", _hide_offer(offer), Phase.REPLACE)
                for event, offset in naming.items():
                    hooks.on_event(device, event, _forget_offer(offset), Phase.REPLACE)
    if policy in ("to-guest", "off"):
        for (device, request), source in _SOURCES.items():
            if is_known(device):
                hooks.on_request(device, request, _refuse_source(source, request), Phase.REPLACE)


def _hide_offer(interface: str) -> Hook:
    destroy = interface_layout(interface).request("destroy")

    def hide(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        offer = UINT.unpack_from(flow.buffer, at + 8)[0]
        flow.relay.hide_from_client(offer, interface)
        flow.relay.to_host(encode(offer, destroy), None)
        return b""

    return hide


def _install_for_drags(hooks: Hooks) -> None:
    """Hide a drag's offer from the client, and destroy it only when the drag has left the client's windows.

    For the host, destroying the offer earlier refuses the drag for good; but the drag may have started in the
    client itself, and its target may be another program.
    """
    destroy = interface_layout("wl_data_offer").request("destroy")

    def forget(flow: Flow, object_id: int) -> None:
        offer = _HIDDEN.of(flow.relay).pop(object_id, 0)
        if offer:
            flow.relay.to_host(encode(offer, destroy), None)

    def hide(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        forget(flow, object_id)
        offer = UINT.unpack_from(flow.buffer, at + 8)[0]
        flow.relay.hide_from_client(offer, "wl_data_offer")
        _HIDDEN.of(flow.relay)[object_id] = offer
        return b""

    def enter(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        UINT.pack_into(flow.buffer, at + 24, 0)
        return None

    def selection(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        offer = UINT.unpack_from(flow.buffer, at + 8)[0]
        if offer and offer == _HIDDEN.of(flow.relay).get(object_id):
            forget(flow, object_id)
        UINT.pack_into(flow.buffer, at + 8, 0)
        return None

    def over(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        forget(flow, object_id)
        return None

    def release(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        forget(flow, flow.relay.host_id(object_id))
        return None

    for event, hook in (("data_offer", hide), ("enter", enter), ("selection", selection)):
        hooks.on_event(_DRAG_DEVICE, event, hook, Phase.REPLACE)
    hooks.on_event(_DRAG_DEVICE, "leave", over, Phase.OBSERVE)
    hooks.on_event(_DRAG_DEVICE, "drop", over, Phase.OBSERVE)
    hooks.on_request(_DRAG_DEVICE, "release", release, Phase.OBSERVE)


def _forget_offer(offset: int) -> Hook:
    def forget(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        UINT.pack_into(flow.buffer, at + offset, 0)
        return None

    return forget


def _refuse_source(interface: str, request: str) -> Hook:
    cancelled = interface_layout(interface).event("cancelled")

    def refuse(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        source = UINT.unpack_from(flow.buffer, at + 8)[0]
        if not source and request == "start_drag":
            return None  # without a source, only the client itself receives the drag's events
        if flow.relay.interface(source) == interface:
            flow.relay.to_client(encode(source, cancelled), None)
        return b""

    return refuse
