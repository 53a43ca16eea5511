/* Its end never ends: a destructor that hangs, in a library whose job has ended well. */
#include "jobmgr_executor.h"
#include <stdlib.h>
#include <unistd.h>

static void for_ever(void) {
    for (;;) sleep(600);
}

__attribute__((destructor)) static void unloaded(void) { for_ever(); }

static int32_t describe(jm_call *call) {
    call->host->reply(call, JM_LIT("{\"name\": \"hang_at_exit\", \"version\": \"0\"}"));
    return JM_OK;
}

static int32_t create(jm_call *call, jm_bytes config, void **instance) {
    (void)call, (void)config, (void)instance;
    return JM_OK;
}

static int32_t run(void *instance, jm_call *call, jm_bytes job) {
    (void)instance, (void)job;
    atexit(for_ever);
    call->host->reply(call, JM_LIT("{\"ending\": {\"exited\": 0}}"));
    return JM_OK;
}

static const jm_plugin table = {JM_PLUGIN_HEAD, 0, describe, create, 0, 0, run, 0, 0};

const jm_plugin *jobmgr_executor_v1(void) { return &table; }
