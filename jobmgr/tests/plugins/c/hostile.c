/* Writes frames of its own on the line between its runner and the worker. HEADER (a -D) gives the 12 bytes of the
 * frame: 0x4d4a, type, flags, call, length. */
#include "jobmgr_executor.h"
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PAYLOAD
#define PAYLOAD
#endif
#ifndef COUNT
#define COUNT 1
#endif

static int32_t describe(jm_call *call) {
    call->host->reply(call, JM_LIT("{\"name\": \"hostile\", \"version\": \"0\"}"));
    return JM_OK;
}

static int32_t create(jm_call *call, jm_bytes config, void **instance) {
    (void)call, (void)config, (void)instance;
    return JM_OK;
}

/* The line: the one socket that is connected without an address. */
static int line(void) {
    for (int fd = 3; fd < 1024; fd++) {
        int type;
        socklen_t size = sizeof type;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0) return fd;
    }
    return -1;
}

static int32_t run(void *instance, jm_call *call, jm_bytes job) {
    (void)instance, (void)job;
    static const unsigned char header[] = {HEADER};
    static const unsigned char payload[] = {PAYLOAD 0};
    for (long n = 0; n < COUNT; n++) {
        if (write(line(), header, sizeof header) < 0) return JM_FAILED;
        if (write(line(), payload, sizeof payload - 1) < 0) return JM_FAILED;
    }
#if defined(HANGS)
    for (;;) sleep(600);
#endif
    call->host->reply(call, JM_LIT("{\"ending\": {\"exited\": 0}}"));
    return JM_OK;
}

static const jm_plugin table = {JM_PLUGIN_HEAD, 0, describe, create, 0, 0, run, 0, 0};

const jm_plugin *jobmgr_executor_v1(void) { return &table; }
