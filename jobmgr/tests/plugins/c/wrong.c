/* Libraries that can't be used, or only just: gcc -DWRONG_MAJOR, -DTOO_SMALL, ... makes one of them. */
#include "jobmgr_executor.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(CTOR_SEGV)
__attribute__((constructor)) static void loaded(void) { *(volatile int *)8 = 1; }
#elif defined(CTOR_EXIT)
__attribute__((constructor)) static void loaded(void) { exit(0); }
#elif defined(CTOR_HANG)
__attribute__((constructor)) static void loaded(void) {
    for (;;) sleep(600);
}
#elif defined(CTOR_SLOW)
/* Until there is a file "go" where the variable says. */
__attribute__((constructor)) static void loaded(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/go", getenv("JM_TEST_MARK"));
    while (access(path, F_OK) != 0) usleep(10000);
}
#elif defined(UNRESOLVED)
extern int a_function_that_nobody_has(void);
#endif

static int32_t describe(jm_call *call) {
#if defined(CTOR_SLOW)
    call->host->reply(call, JM_LIT("{\"name\": \"slow\", \"version\": \"0\", \"options_schema\": "
                                   "{\"type\": \"object\", \"additionalProperties\": false, "
                                   "\"properties\": {\"Yes\": {}}}}"));
#else
    call->host->reply(call, JM_LIT("{\"name\": \"wrong\", \"version\": \"0\"}"));
#endif
    return JM_OK;
}

static int32_t create(jm_call *call, jm_bytes config, void **instance) {
    (void)call, (void)config, (void)instance;
#if defined(CREATE_FAILS)
    call->host->reply(call, JM_LIT("{\"error\": \"Address: is missing\"}"));
    return JM_INVALID;
#else
    return JM_OK;
#endif
}

static int32_t run(void *instance, jm_call *call, jm_bytes job) {
    (void)instance, (void)job;
    call->host->reply(call, JM_LIT("{\"ending\": {\"exited\": 0}}"));
#if defined(PRINTF)
    printf("through stdio, no newline, never flushed by me");
#elif defined(NO_ENDING)
    call->host->reply(call, JM_LIT("{\"ended\": \"well\"}"));
#elif defined(NO_REASON)
    call->host->reply(call, JM_LIT(""));
    return JM_FAILED;
#elif defined(OWN_STATUS)
    call->host->reply(call, JM_LIT("{\"error\": \"a status of my own\"}"));
    return 4711;
#elif defined(UNRESOLVED)
    return a_function_that_nobody_has();
#endif
    return JM_OK;
}

#if defined(WRONG_MAJOR)
static const jm_plugin table = {JM_MAGIC, sizeof(jm_plugin), 7, 0, 0, 0, 0, 0, describe, create, 0, 0, run, 0, 0};
#elif defined(TOO_SMALL)
static const jm_plugin table = {JM_MAGIC, 40, 1, 0, 0, 0, 0, 0, describe, create, 0, 0, run, 0, 0};
#elif defined(BAD_MAGIC)
static const jm_plugin table = {12345, sizeof(jm_plugin), 1, 0, 0, 0, 0, 0, describe, create, 0, 0, run, 0, 0};
#elif defined(NEEDS_NEWER)
static const jm_plugin table = {JM_MAGIC, sizeof(jm_plugin), 1, 9, 9, 0, 0, 0, describe, create, 0, 0, run, 0, 0};
#elif defined(NULL_RUN)
static const jm_plugin table = {JM_PLUGIN_HEAD, 0, describe, create, 0, 0, NULL, 0, 0};
#else
static const jm_plugin table = {JM_PLUGIN_HEAD, 0, describe, create, 0, 0, run, 0, 0};
#endif

#if defined(BIGGER_TABLE) /* As version 1.1 may be: a field more, which an older jobmgr does without. */
static struct {
    jm_plugin table;
    int32_t (*pause)(void *instance, jm_call *);
    uint64_t more[8];
} bigger = {{JM_MAGIC, sizeof bigger, 1, 1, 0, 0, 0, 0, describe, create, 0, 0, run, 0, 0}, 0, {1, 2, 3}};
const jm_plugin *jobmgr_executor_v1(void) { return &bigger.table; }
#elif defined(NULL_TABLE)
const jm_plugin *jobmgr_executor_v1(void) { return NULL; }
#elif defined(WRONG_ENTRY_V2)
JM_EXPORT const void *jobmgr_executor_v2(void) { return &table; }
#elif defined(NO_ENTRY)
JM_EXPORT const void *jobmgr_executor(void) { return &table; }
#else
const jm_plugin *jobmgr_executor_v1(void) { return &table; }
#endif
