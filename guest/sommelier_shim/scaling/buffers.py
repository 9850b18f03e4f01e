"""Sizes of buffers, recorded from the requests that create them: no other message contains them."""

from __future__ import annotations

from sommelier_shim.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.layouts import is_known
from sommelier_shim.relay import Flow, Hook, Relay
from sommelier_shim.wire import INT, UINT, Buffer

_SIZES: FeatureKey[dict[int, tuple[int, int]]] = FeatureKey("sizes of buffers", dict)
_PARAMS: FeatureKey[dict[int, tuple[int, int]]] = FeatureKey("sizes of buffer params", dict)
_REQUESTS = {
    ("wl_shm_pool", "create_buffer"): (8, 16),
    ("zwp_linux_buffer_params_v1", "create_immed"): (8, 12),
    ("wl_drm", "create_buffer"): (8, 16),
    ("wl_drm", "create_planar_buffer"): (8, 16),
    ("wl_drm", "create_prime_buffer"): (8, 12),
}
"""Requests that create a buffer: the offsets of its id and of its width; the height follows the width. The ``name``
argument of create_prime_buffer is a descriptor and takes no bytes."""


def install(hooks: Hooks) -> None:
    """Record the size of every buffer."""
    for (interface, name), (new, width) in _REQUESTS.items():
        if is_known(interface):
            hooks.on_request(interface, name, _recorder(new, width), Phase.OBSERVE)
    if is_known("wp_single_pixel_buffer_manager_v1"):
        hooks.on_request(
            "wp_single_pixel_buffer_manager_v1", "create_u32_rgba_buffer", _single_pixel, Phase.OBSERVE
        )
    hooks.on_request("wl_buffer", "destroy", _destroy, Phase.OBSERVE)
    if is_known("zwp_linux_buffer_params_v1"):
        hooks.on_request("zwp_linux_buffer_params_v1", "create", _params_create, Phase.OBSERVE)
        hooks.on_event("zwp_linux_buffer_params_v1", "created", _params_created, Phase.OBSERVE)


def size_of(relay: Relay, buffer: int) -> tuple[int, int] | None:
    """Width and height of a client's buffer in pixels; None if they are unknown."""
    return _SIZES.of(relay).get(buffer)


def _recorder(new: int, width: int) -> Hook:
    def record(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        buffer = UINT.unpack_from(flow.buffer, at + new)[0]
        size = INT.unpack_from(flow.buffer, at + width)[0], INT.unpack_from(flow.buffer, at + width + 4)[0]
        _SIZES.of(flow.relay)[buffer] = size
        return None

    return record


def _single_pixel(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    _SIZES.of(flow.relay)[UINT.unpack_from(flow.buffer, at + 8)[0]] = (1, 1)
    return None


def _params_create(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    size = INT.unpack_from(flow.buffer, at + 8)[0], INT.unpack_from(flow.buffer, at + 12)[0]
    _PARAMS.of(flow.relay)[object_id] = size
    return None


def _params_created(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    params = flow.relay.client_id(object_id)
    size = _PARAMS.of(flow.relay).pop(params, None)
    if size is not None:
        _SIZES.of(flow.relay)[UINT.unpack_from(flow.buffer, at + 8)[0]] = size
    return None


def _destroy(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    _SIZES.of(flow.relay).pop(object_id, None)
    return None
