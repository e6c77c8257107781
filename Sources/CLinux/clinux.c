#define _GNU_SOURCE
#include "clinux.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

_Static_assert(CLINUX_SEEK_DATA == SEEK_DATA, "kernel constant");
_Static_assert(CLINUX_SEEK_HOLE == SEEK_HOLE, "kernel constant");

int clinux_allocate(int fd, off_t offset, off_t length)
{
    return fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length);
}

int clinux_punch_hole(int fd, off_t offset, off_t length)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

int clinux_start_writeback(int fd, off_t offset, off_t length)
{
    return sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE);
}

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

ssize_t clinux_get_xattr(const char *path, const char *name, void *value, size_t size)
{
    return getxattr(path, name, value, size);
}

int clinux_filesystem_type(const char *path, long *type)
{
    struct statfs status;
    int result = statfs(path, &status);
    if (result == 0)
        *type = (long)status.f_type;
    return result;
}
