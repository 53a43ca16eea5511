/* Prints 64 MiB on its own standard output and says how that went; the end of it is what is kept. */
#include "jobmgr_executor.h"
#include <stdio.h>

static int32_t describe(jm_call *call) {
    call->host->reply(call, JM_LIT("{\"name\": \"prints\", \"version\": \"0\"}"));
    return JM_OK;
}

static int32_t create(jm_call *call, jm_bytes config, void **instance) {
    (void)call, (void)config, (void)instance;
    return JM_OK;
}

static int32_t run(void *instance, jm_call *call, jm_bytes job) {
    (void)instance, (void)job;
    for (int n = 0; n < 1 << 20; n++) puts("sixty-three characters and the end of a line make sixty-four.");
    puts("the last line");
    call->host->reply(call, JM_LIT("{\"ending\": {\"exited\": 0}}"));
    return JM_OK;
}

static const jm_plugin table = {JM_PLUGIN_HEAD, 0, describe, create, 0, 0, run, 0, 0};

const jm_plugin *jobmgr_executor_v1(void) { return &table; }
