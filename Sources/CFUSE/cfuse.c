#include "cfuse.h"

#include <errno.h>
#include <stddef.h>
#include <sys/uio.h>
#include <unistd.h>

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

/*
 * Requests are read here instead of in libfuse for the sake of one opcode: libfuse 3.14 does not know
 * FUSE_COPY_FILE_RANGE_64 (kernel 6.18), and answers ENOSYS, after which the kernel sends a copy of
 * 100 GiB as 26 requests. Its argument is that of FUSE_COPY_FILE_RANGE; cfuse_reply_copied() answers
 * both. Goes away with the first libfuse that knows the opcode.
 */
enum { COPY_FILE_RANGE = 47, COPY_FILE_RANGE_64 = 53 };

/* struct fuse_in_header of linux/fuse.h up to the opcode. */
struct request_head {
    uint32_t length;
    uint32_t opcode;
};

static ssize_t read_request(int fd, void *buffer, size_t size, void *userdata)
{
    (void)userdata;
    ssize_t count = read(fd, buffer, size);
    struct request_head *head = buffer;
    if (count >= (ssize_t)sizeof(*head) && head->opcode == COPY_FILE_RANGE_64)
        head->opcode = COPY_FILE_RANGE;
    return count;
}

static ssize_t write_reply(int fd, struct iovec *parts, int count, void *userdata)
{
    (void)userdata;
    return writev(fd, parts, count);
}

int cfuse_session_read_requests(struct fuse_session *session)
{
    const struct fuse_custom_io io = {.writev = write_reply, .read = read_request};
    return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}

int cfuse_reply_copied(fuse_req_t request, uint64_t byte_count)
{
    /* struct fuse_copy_file_range_out; below 4 GiB also struct fuse_write_out (little-endian). */
    return fuse_reply_buf(request, (const char *)&byte_count, sizeof(byte_count));
}
