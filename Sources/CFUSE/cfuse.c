#include "cfuse.h"

#include <errno.h>
#include <linux/fuse.h>
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
 * Requests are read and answered here instead of in libfuse for the sake of two things that it does
 * not know.
 *
 * An opcode: libfuse 3.14 does not know
 * FUSE_COPY_FILE_RANGE_64 (kernel 6.18), and answers ENOSYS, after which the kernel sends a copy of
 * 100 GiB as 26 requests. Its argument is that of FUSE_COPY_FILE_RANGE; cfuse_reply_copied() answers
 * both.
 *
 * A flag: without FUSE_HANDLE_KILLPRIV_V2 (kernel 5.11) the kernel asks for the xattr
 * security.capability before every write, in the writer's own thread: one round trip more for each
 * write, and no two at once. The promise that goes with it, to take set-user-id, set-group-id and
 * capabilities away with a write, is kept by having none on disks.
 *
 * Each goes away with the first libfuse that knows it.
 */
enum { COPY_FILE_RANGE = 47, COPY_FILE_RANGE_64 = 53 };

/* The request by which a mount begins; nothing else is under way before it is answered. */
static uint64_t init_to_amend;

static ssize_t read_request(int fd, void *buffer, size_t size, void *userdata)
{
    (void)userdata;
    ssize_t count = read(fd, buffer, size);
    struct fuse_in_header *head = buffer;
    if (count < (ssize_t)sizeof(*head))
        return count;
    if (head->opcode == COPY_FILE_RANGE_64)
        head->opcode = COPY_FILE_RANGE;
    if (head->opcode == FUSE_INIT) {
        const struct fuse_init_in *offer = (const void *)(head + 1);
        if (count >= (ssize_t)(sizeof(*head) + offsetof(struct fuse_init_in, flags2)) &&
            offer->flags & FUSE_HANDLE_KILLPRIV_V2)
            init_to_amend = head->unique;
    }
    return count;
}

static ssize_t write_reply(int fd, struct iovec *parts, int count, void *userdata)
{
    (void)userdata;
    const struct fuse_out_header *head = parts[0].iov_base;
    if (init_to_amend != 0 && head->unique == init_to_amend) {
        init_to_amend = 0;
        if (head->error == 0 && count == 2 &&
            parts[1].iov_len >= offsetof(struct fuse_init_out, max_background))
            ((struct fuse_init_out *)parts[1].iov_base)->flags |= FUSE_HANDLE_KILLPRIV_V2;
    }
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
