#include "cfuse.h"

#include <errno.h>
#include <stddef.h>
#include <sys/sysmacros.h>

int cfuse_session_loop(struct fuse_session *session, unsigned max_threads,
                       unsigned max_idle_threads)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (config == NULL)
        return -ENOMEM;
    fuse_loop_cfg_set_max_threads(config, max_threads);
    fuse_loop_cfg_set_idle_threads(config, max_idle_threads);
    int result = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    return result;
}

unsigned cfuse_device_major(unsigned long long device) { return major(device); }

unsigned cfuse_device_minor(unsigned long long device) { return minor(device); }
