#ifndef CFUSE_H
#define CFUSE_H

/* One version of the libfuse API for every file of the project. */
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <stdint.h>

/*
 * fuse_session_loop_mt() is a versioned macro, which Swift cannot call. Serves requests on up to
 * max_threads threads until the session ends; returns as fuse_session_loop_mt() does.
 */
int cfuse_session_loop(struct fuse_session *session, unsigned max_threads,
                       unsigned max_idle_threads);

/*
 * Makes copies of any length come as one request, and writes come without a question before each,
 * also where libfuse does not know how. After the mount and before the loop; 0 or a negative errno.
 */
int cfuse_session_read_requests(struct fuse_session *session);

/* Answers a copy_file_range request of either opcode; returns as fuse_reply_buf() does. */
int cfuse_reply_copied(fuse_req_t request, uint64_t byte_count);

#endif
