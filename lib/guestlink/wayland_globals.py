"""The globals of a Wayland compositor that applications use, as a list of what is allowed.

Every other global may let a program see or control other programs: capture, virtual keyboards, the clipboard of
programs without the focus, panels, window lists, session locks, output settings. An interface that is not on the
list counts as such a one. guestlink-host decides by this list, and the Wayland proxy announces these globals
(:mod:`sommelier_shim.features.policy.interfaces`).
"""

from __future__ import annotations

SECURITY_CONTEXT = "wp_security_context_manager_v1"
SANDBOX_ENGINE = "org.guestlink"
"""The engine of our security contexts (security-context-v1.xml, set_sandbox_engine)."""

FOR_APPLICATIONS = frozenset(
    """
    wl_compositor wl_data_device_manager wl_fixes wl_output wl_seat wl_shell wl_shm wl_subcompositor
    xdg_activation_v1 xdg_session_manager_v1 xdg_system_bell_v1 xdg_toplevel_drag_manager_v1
    xdg_toplevel_icon_manager_v1 xdg_toplevel_tag_manager_v1 xdg_wm_base xdg_wm_dialog_v1 zxdg_decoration_manager_v1
    zxdg_exporter_v1 zxdg_exporter_v2 zxdg_importer_v1 zxdg_importer_v2 zxdg_output_manager_v1 zxdg_shell_v6
    ext_background_effect_manager_v1 ext_idle_notifier_v1 ivi_application
    wp_alpha_modifier_v1 wp_color_manager_v1 wp_color_representation_manager_v1 wp_commit_timing_manager_v1
    wp_content_type_manager_v1 wp_cursor_shape_manager_v1 wp_fifo_manager_v1 wp_fractional_scale_manager_v1
    wp_linux_drm_syncobj_manager_v1 wp_pointer_warp_v1 wp_presentation wp_single_pixel_buffer_manager_v1
    wp_tearing_control_manager_v1 wp_viewporter zwp_linux_dmabuf_v1 zwp_linux_explicit_synchronization_v1
    zwp_idle_inhibit_manager_v1 zwp_input_timestamps_manager_v1 zwp_keyboard_shortcuts_inhibit_manager_v1
    zwp_pointer_constraints_v1 zwp_pointer_gestures_v1 zwp_primary_selection_device_manager_v1
    zwp_relative_pointer_manager_v1 zwp_tablet_manager_v1 zwp_tablet_manager_v2 zwp_text_input_manager_v1
    zwp_text_input_manager_v2 zwp_text_input_manager_v3
    gtk_primary_selection_device_manager gtk_shell1 org_kde_kwin_blur_manager org_kde_kwin_contrast_manager
    org_kde_kwin_server_decoration_manager org_kde_kwin_server_decoration_palette_manager
    org_kde_kwin_shadow_manager org_kde_kwin_slide_manager wl_drm wl_eglstream_controller wl_eglstream_display
    zcr_text_input_crostini_manager_v1 zcr_text_input_extension_v1 zcr_text_input_x11_v1
    """.split()
)
"""Names of interfaces. The proxy knows the messages of most of them, and announces only those."""
