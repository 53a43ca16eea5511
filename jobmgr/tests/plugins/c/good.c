/* An executor in C that does as it should: it says hello, and the job has exited with code 0. */
#include "jobmgr_executor.h"

#ifndef VERSION
#define VERSION "1.0.0"
#endif

static int32_t describe(jm_call *call) {
    call->host->reply(call, JM_LIT("{\"name\": \"good\", \"version\": \"" VERSION "\"}"));
    return JM_OK;
}

static int32_t create(jm_call *call, jm_bytes config, void **instance) {
    (void)call, (void)config;
    *instance = NULL;
    return JM_OK;
}

static void destroy(void *instance) { (void)instance; }

static int32_t run(void *instance, jm_call *call, jm_bytes job) {
    (void)instance, (void)job;
    call->host->log(call, JM_STDOUT, 0, JM_LIT("hello from C\n"));
    call->host->reply(call, JM_LIT("{\"ending\": {\"exited\": 0}}"));
    return JM_OK;
}

static const jm_plugin table = {JM_PLUGIN_HEAD, 0, describe, create, destroy, NULL, run, NULL, NULL};

const jm_plugin *jobmgr_executor_v1(void) { return &table; }
