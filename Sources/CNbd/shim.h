#ifndef CNBD_SHIM_H
#define CNBD_SHIM_H

#include <libnbd.h>

#endif
