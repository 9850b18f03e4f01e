/* Reads every desktop file of a directory with GLib's own parser and prints the time in nanoseconds. */
#include <gio/gdesktopappinfo.h>
#include <stdio.h>
#include <time.h>

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
    long long began = now();
    GDir *directory = g_dir_open(argv[1], 0, NULL);
    const char *name;
    int count = 0;

    while ((name = g_dir_read_name(directory))) {
        char *path = g_build_filename(argv[1], name, NULL);
        GDesktopAppInfo *info = g_desktop_app_info_new_from_filename(path);
        if (info) {
            /* What garcon reads of an entry, GLib looks up lazily. */
            g_app_info_get_name(G_APP_INFO(info));
            g_app_info_get_description(G_APP_INFO(info));
            g_desktop_app_info_get_keywords(info);
            g_desktop_app_info_get_categories(info);
            g_desktop_app_info_get_startup_wm_class(info);
            g_app_info_get_supported_types(G_APP_INFO(info));
            count++;
            g_object_unref(info);
        }
        g_free(path);
    }
    g_dir_close(directory);
    printf("%lld %d\n", now() - began, count);
    return 0;
}
