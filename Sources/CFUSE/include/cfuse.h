#ifndef CFUSE_H
#define CFUSE_H

/* One version of the libfuse API for every file of the project. */
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

/*
 * fuse_session_loop_mt() is a versioned macro, which Swift cannot call. Serves requests on up to
 * max_threads threads until the session ends; returns as fuse_session_loop_mt() does.
 */
int cfuse_session_loop(struct fuse_session *session, unsigned max_threads,
                       unsigned max_idle_threads);

/* dev_t of a mount point as the kernel prints it under /sys/class/bdi (major:minor). */
unsigned cfuse_device_major(unsigned long long device);
unsigned cfuse_device_minor(unsigned long long device);

#endif
