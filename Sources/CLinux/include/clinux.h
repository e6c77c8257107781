#ifndef CLINUX_H
#define CLINUX_H

#include <sys/types.h>

/* What glibc shows only under _GNU_SOURCE, which Swift's Glibc module does not define. */

enum clinux_seek { CLINUX_SEEK_DATA = 3, CLINUX_SEEK_HOLE = 4 };

/* fallocate(2): takes space without changing the size. */
int clinux_allocate(int fd, off_t offset, off_t length);

/* fallocate(2): gives space back, the range reads as zeros. */
int clinux_punch_hole(int fd, off_t offset, off_t length);

/* sync_file_range(2) with SYNC_FILE_RANGE_WRITE: starts writeback, does not wait for it. */
int clinux_start_writeback(int fd, off_t offset, off_t length);

/* pipe2(2) with O_CLOEXEC. */
int clinux_pipe(int ends[2]);

/* getxattr(2). */
ssize_t clinux_get_xattr(const char *path, const char *name, void *value, size_t size);

/* statfs(2): the f_type of the filesystem that holds path. Swift's Glibc module has no statfs. */
int clinux_filesystem_type(const char *path, long *type);

#endif
