/* An X11 program that does what its standard input says, and prints what happens, with the time in microseconds of
 * CLOCK_MONOTONIC: expose, focus, configure WIDTH HEIGHT, motion, key.
 *
 *   map COLOR            a window of 300 by 200 pixels with a background
 *   popup COLOR          a menu of 80 by 60 pixels, 40 pixels inside the window
 *   hide                 the menu goes
 *   color COLOR          the window is filled with another color
 *   close                the window goes
 *   counts               prints how many sizes the window has been drawn in
 *
 * Every new size is drawn at once. A key fills the window with the color that is its background plus 1. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xcb/xcb.h>

static xcb_connection_t *x;
static xcb_screen_t *screen;
static xcb_window_t window, menu;
static uint32_t color;
static int width, height, left, top;
static unsigned long sizes;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void said(const char *what) {
    printf("%s %" PRIu64 "\n", what, now());
}

static xcb_window_t create(int at_x, int at_y, int wide, int high, uint32_t background, int is_menu) {
    xcb_window_t created = xcb_generate_id(x);
    uint32_t events = XCB_EVENT_MASK_EXPOSURE | XCB_EVENT_MASK_STRUCTURE_NOTIFY | XCB_EVENT_MASK_FOCUS_CHANGE |
                      XCB_EVENT_MASK_KEY_PRESS | XCB_EVENT_MASK_POINTER_MOTION;
    uint32_t values[] = {background, is_menu, is_menu ? XCB_EVENT_MASK_EXPOSURE : events};
    xcb_create_window(x, XCB_COPY_FROM_PARENT, created, screen->root, at_x, at_y, wide, high, 0,
                      XCB_WINDOW_CLASS_INPUT_OUTPUT, screen->root_visual,
                      XCB_CW_BACK_PIXEL | XCB_CW_OVERRIDE_REDIRECT | XCB_CW_EVENT_MASK, values);
    return created;
}

static void fill(uint32_t with) {
    xcb_change_window_attributes(x, window, XCB_CW_BACK_PIXEL, &with);
    xcb_clear_area(x, 0, window, 0, 0, 0, 0);
}

static void place(void) {
    xcb_translate_coordinates_reply_t *reply =
        xcb_translate_coordinates_reply(x, xcb_translate_coordinates(x, window, screen->root, 0, 0), NULL);
    if (reply) {
        left = reply->dst_x;
        top = reply->dst_y;
        free(reply);
    }
}

static void command(const char *line) {
    char word[16] = "";
    unsigned value = 0;
    sscanf(line, "%15s %x", word, &value);
    if (!strcmp(word, "map")) {
        color = value;
        window = create(0, 0, width = 300, height = 200, color, 0);
        xcb_change_property(x, XCB_PROP_MODE_REPLACE, window, XCB_ATOM_WM_CLASS, XCB_ATOM_STRING, 8, 12,
                            "bench\0Bench");
        said("map");
        xcb_map_window(x, window);
    } else if (!strcmp(word, "popup")) {
        place();
        menu = create(left + 40, top + 40, 80, 60, value, 1);
        said("popup");
        xcb_map_window(x, menu);
    } else if (!strcmp(word, "hide")) {
        xcb_destroy_window(x, menu);
    } else if (!strcmp(word, "color")) {
        said("color");
        fill(color = value);
    } else if (!strcmp(word, "close")) {
        xcb_destroy_window(x, window);
    } else if (!strcmp(word, "counts")) {
        printf("counts %lu\n", sizes);
        sizes = 0;
    }
    xcb_flush(x);
}

static void event(xcb_generic_event_t *got) {
    switch (got->response_type & 0x7f) {
    case XCB_EXPOSE:
        said(((xcb_expose_event_t *)got)->window == menu ? "menu" : "expose");
        break;
    case XCB_FOCUS_IN:
        said("focus");
        break;
    case XCB_MOTION_NOTIFY:
        said("motion");
        break;
    case XCB_KEY_PRESS:
        said("key");
        fill(color + 1);
        break;
    case XCB_CONFIGURE_NOTIFY: {
        xcb_configure_notify_event_t *about = (xcb_configure_notify_event_t *)got;
        if (about->window == window && (about->width != width || about->height != height)) {
            width = about->width;
            height = about->height;
            sizes++;
            xcb_clear_area(x, 0, window, 0, 0, 0, 0);
        }
    }
    }
}

int main(void) {
    char input[4096];
    size_t have = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    x = xcb_connect(NULL, NULL);
    if (xcb_connection_has_error(x)) {
        fprintf(stderr, "no X server\n");
        return 1;
    }
    screen = xcb_setup_roots_iterator(xcb_get_setup(x)).data;
    said("ready");
    struct pollfd polled[2] = {{0, POLLIN, 0}, {xcb_get_file_descriptor(x), POLLIN, 0}};
    for (;;) {
        xcb_generic_event_t *got;
        while ((got = xcb_poll_for_event(x))) {
            event(got);
            free(got);
        }
        xcb_flush(x);
        if (xcb_connection_has_error(x) || poll(polled, 2, -1) < 0) return 1;
        if (!polled[0].revents) continue;
        ssize_t size = read(0, input + have, sizeof input - 1 - have);
        if (size <= 0) return 0;
        have += size;
        input[have] = 0;
        char *line = input, *end;
        while ((end = strchr(line, '\n'))) {
            *end = 0;
            command(line);
            line = end + 1;
        }
        have -= line - input;
        memmove(input, line, have);
    }
}
