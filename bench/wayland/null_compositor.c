/* A compositor that shows nothing: it answers, gives buffers back at their commit and asks for the next frame at
 * once, so that figures hold the cost of what is in between and of nothing else.
 *
 * usage: null_compositor SOCKET    prints a line when it listens; ends when its standard input does
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <wayland-server.h>

#define CALLBACKS 64

struct surface {
	uint32_t buffer; /* by its id: it may be gone at the commit */
	unsigned waiting;
	struct wl_resource *callbacks[CALLBACKS];
};

static void destroy(struct wl_client *client, struct wl_resource *resource) { wl_resource_destroy(resource); }

static void rectangle(struct wl_client *client, struct wl_resource *resource, int32_t x, int32_t y, int32_t width,
		      int32_t height)
{
}

static void region(struct wl_client *client, struct wl_resource *resource, struct wl_resource *other) {}

static void number(struct wl_client *client, struct wl_resource *resource, int32_t value) {}

static void attach(struct wl_client *client, struct wl_resource *resource, struct wl_resource *buffer, int32_t x,
		   int32_t y)
{
	struct surface *surface = wl_resource_get_user_data(resource);
	surface->buffer = buffer ? wl_resource_get_id(buffer) : 0;
}

static void frame(struct wl_client *client, struct wl_resource *resource, uint32_t id)
{
	struct surface *surface = wl_resource_get_user_data(resource);
	struct wl_resource *callback = wl_resource_create(client, &wl_callback_interface, 1, id);
	if (!callback || surface->waiting == CALLBACKS) {
		wl_client_post_no_memory(client);
		return;
	}
	surface->callbacks[surface->waiting++] = callback;
}

static void commit(struct wl_client *client, struct wl_resource *resource)
{
	struct surface *surface = wl_resource_get_user_data(resource);
	struct wl_resource *buffer = surface->buffer ? wl_client_get_object(client, surface->buffer) : NULL;
	if (buffer)
		wl_buffer_send_release(buffer);
	surface->buffer = 0;
	for (unsigned i = 0; i < surface->waiting; i++) {
		wl_callback_send_done(surface->callbacks[i], 0);
		wl_resource_destroy(surface->callbacks[i]);
	}
	surface->waiting = 0;
}

static const struct wl_surface_interface surface_requests = {
	.destroy = destroy,
	.attach = attach,
	.damage = rectangle,
	.frame = frame,
	.set_opaque_region = region,
	.set_input_region = region,
	.commit = commit,
	.set_buffer_transform = number,
	.set_buffer_scale = number,
	.damage_buffer = rectangle,
};

static const struct wl_region_interface region_requests = {destroy, rectangle, rectangle};

static void surface_gone(struct wl_resource *resource) { free(wl_resource_get_user_data(resource)); }

static void create_surface(struct wl_client *client, struct wl_resource *compositor, uint32_t id)
{
	struct wl_resource *resource =
		wl_resource_create(client, &wl_surface_interface, wl_resource_get_version(compositor), id);
	struct surface *surface = calloc(1, sizeof *surface);
	if (!resource || !surface)
		abort();
	wl_resource_set_implementation(resource, &surface_requests, surface, surface_gone);
}

static void create_region(struct wl_client *client, struct wl_resource *compositor, uint32_t id)
{
	struct wl_resource *resource = wl_resource_create(client, &wl_region_interface, 1, id);
	if (!resource)
		abort();
	wl_resource_set_implementation(resource, &region_requests, NULL, NULL);
}

static const struct wl_compositor_interface compositor_requests = {create_surface, create_region};

static void bind(struct wl_client *client, void *data, uint32_t version, uint32_t id)
{
	struct wl_resource *resource = wl_resource_create(client, &wl_compositor_interface, version, id);
	if (!resource)
		abort();
	wl_resource_set_implementation(resource, &compositor_requests, NULL, NULL);
}

/* wp_security_context_v1: a listening socket becomes one of the display's, and its clients are served as all. */
static const struct wl_interface context_interface;
static const struct wl_interface *listener_types[] = {&context_interface, NULL, NULL};
static const struct wl_message manager_messages[] = {{"destroy", "", NULL}, {"create_listener", "nhh", listener_types}};
static const struct wl_interface *no_types[] = {NULL};
static const struct wl_message context_messages[] = {
	{"destroy", "", NULL},		  {"set_sandbox_engine", "s", no_types}, {"set_app_id", "s", no_types},
	{"set_instance_id", "s", no_types}, {"commit", "", NULL},
};
static const struct wl_interface manager_interface = {
	"wp_security_context_manager_v1", 1, 2, manager_messages, 0, NULL};
static const struct wl_interface context_interface = {"wp_security_context_v1", 1, 5, context_messages, 0, NULL};

static void text(struct wl_client *client, struct wl_resource *resource, const char *value) {}

static void commit_context(struct wl_client *client, struct wl_resource *resource)
{
	int listener = (int)(intptr_t)wl_resource_get_user_data(resource);
	if (wl_display_add_socket_fd(wl_client_get_display(client), listener) != 0)
		abort();
}

static const struct {
	void (*destroy)(struct wl_client *, struct wl_resource *);
	void (*engine)(struct wl_client *, struct wl_resource *, const char *);
	void (*app_id)(struct wl_client *, struct wl_resource *, const char *);
	void (*instance_id)(struct wl_client *, struct wl_resource *, const char *);
	void (*commit)(struct wl_client *, struct wl_resource *);
} context_requests = {destroy, text, text, text, commit_context};

static void create_listener(struct wl_client *client, struct wl_resource *manager, uint32_t id, int32_t listener,
			    int32_t keep_open)
{
	struct wl_resource *resource = wl_resource_create(client, &context_interface, 1, id);
	if (!resource)
		abort();
	close(keep_open); /* a measurement does not end a context before its compositor */
	wl_resource_set_implementation(resource, &context_requests, (void *)(intptr_t)listener, NULL);
}

static const struct {
	void (*destroy)(struct wl_client *, struct wl_resource *);
	void (*create_listener)(struct wl_client *, struct wl_resource *, uint32_t, int32_t, int32_t);
} manager_requests = {destroy, create_listener};

static void bind_manager(struct wl_client *client, void *data, uint32_t version, uint32_t id)
{
	struct wl_resource *resource = wl_resource_create(client, &manager_interface, version, id);
	if (!resource)
		abort();
	wl_resource_set_implementation(resource, &manager_requests, NULL, NULL);
}

static int input_ended(int descriptor, uint32_t mask, void *data)
{
	wl_display_terminate(data);
	return 0;
}

int main(int argc, char **argv)
{
	struct wl_display *display = wl_display_create();
	if (argc != 2 || !display || wl_display_add_socket(display, argv[1]) != 0 ||
	    wl_display_init_shm(display) != 0 ||
	    !wl_global_create(display, &wl_compositor_interface, 4, NULL, bind) ||
	    !wl_global_create(display, &manager_interface, 1, NULL, bind_manager)) {
		fprintf(stderr, "usage: null_compositor SOCKET\n");
		return 1;
	}
	wl_event_loop_add_fd(wl_display_get_event_loop(display), STDIN_FILENO, WL_EVENT_READABLE, input_ended,
			     display);
	puts("listening");
	fflush(stdout);
	wl_display_run(display);
	wl_display_destroy_clients(display);
	wl_display_destroy(display);
	return 0;
}
