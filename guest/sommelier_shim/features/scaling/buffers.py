"""Sizes of buffers, recorded from the requests that create them: no other message contains them."""

from __future__ import annotations

from sommelier_shim.core.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.core.layouts import MessageLayout, event, request
from sommelier_shim.core.relay import Flow, Hook, Relay

_SIZES: FeatureKey[dict[int, tuple[int, int]]] = FeatureKey("sizes of buffers", dict)
_PARAMS: FeatureKey[dict[int, tuple[int, int]]] = FeatureKey("sizes of buffer params", dict)
_REQUESTS = {
    ("wl_shm_pool", "create_buffer"): "id",
    ("zwp_linux_buffer_params_v1", "create_immed"): "buffer_id",
    ("wl_drm", "create_buffer"): "id",
    ("wl_drm", "create_planar_buffer"): "id",
    ("wl_drm", "create_prime_buffer"): "id",
}
"""Requests that create a buffer with arguments ``width`` and ``height``: the argument with the buffer's id."""
_PIXEL_MANAGER = "wp_single_pixel_buffer_manager_v1"
_LINUX_PARAMS = "zwp_linux_buffer_params_v1"
_read_create_pixel = request(_PIXEL_MANAGER, "create_u32_rgba_buffer").reader("id")
_read_create = request(_LINUX_PARAMS, "create").reader("width", "height")
_read_created = event(_LINUX_PARAMS, "created").reader("buffer")


def install(hooks: Hooks) -> None:
    """Record the size of every buffer."""
    for (interface, name), buffer in _REQUESTS.items():
        hooks.on_request(interface, name, _recorder(request(interface, name), buffer), Phase.OBSERVE)
    hooks.on_request(_PIXEL_MANAGER, "create_u32_rgba_buffer", _create_pixel, Phase.OBSERVE)
    hooks.on_request("wl_buffer", "destroy", _destroy, Phase.OBSERVE)
    hooks.on_request(_LINUX_PARAMS, "create", _params_create, Phase.OBSERVE)
    hooks.on_event(_LINUX_PARAMS, "created", _params_created, Phase.OBSERVE)


def size_of(relay: Relay, buffer: int) -> tuple[int, int] | None:
    """Width and height of a client's buffer in pixels; None if they are unknown."""
    return _SIZES.of(relay).get(buffer)


def _recorder(message: MessageLayout, buffer: str) -> Hook:
    read_size = message.reader(buffer, "width", "height")

    def record(flow: Flow, object_id: int, at: int, stop: int) -> None:
        new, width, height = read_size(flow.buffer, at)
        _SIZES.of(flow.relay)[new] = width, height

    return record


def _create_pixel(flow: Flow, object_id: int, at: int, stop: int) -> None:
    (new,) = _read_create_pixel(flow.buffer, at)
    _SIZES.of(flow.relay)[new] = 1, 1


def _params_create(flow: Flow, object_id: int, at: int, stop: int) -> None:
    width, height = _read_create(flow.buffer, at)
    _PARAMS.of(flow.relay)[object_id] = width, height


def _params_created(flow: Flow, object_id: int, at: int, stop: int) -> None:
    size = _PARAMS.of(flow.relay).pop(flow.relay.client_id(object_id), None)
    if size is not None:
        (new,) = _read_created(flow.buffer, at)
        _SIZES.of(flow.relay)[new] = size


def _destroy(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _SIZES.of(flow.relay).pop(object_id, None)
