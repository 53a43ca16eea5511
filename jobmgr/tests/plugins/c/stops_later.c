/* Stops its own process soon after it was opened, so that a spare reads its line no more. */
#include "jobmgr_executor.h"
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static void *stop(void *nothing) {
    usleep(200 * 1000);
    kill(getpid(), SIGSTOP);
    return nothing;
}

static int32_t describe(jm_call *call) {
    call->host->reply(call, JM_LIT("{\"name\": \"stops_later\", \"version\": \"0\"}"));
    return JM_OK;
}

static int32_t create(jm_call *call, jm_bytes config, void **instance) {
    (void)call, (void)config, (void)instance;
    pthread_t thread;
    return pthread_create(&thread, NULL, stop, NULL) == 0 ? JM_OK : JM_FAILED;
}

static int32_t run(void *instance, jm_call *call, jm_bytes job) {
    (void)instance, (void)job;
    call->host->reply(call, JM_LIT("{\"ending\": {\"exited\": 0}}"));
    return JM_OK;
}

static const jm_plugin table = {JM_PLUGIN_HEAD, 0, describe, create, 0, 0, run, 0, 0};

const jm_plugin *jobmgr_executor_v1(void) { return &table; }
