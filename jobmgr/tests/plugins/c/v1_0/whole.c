/* All of version 1.0 of the interface: every function of the host is called, and the bytes of every table lie where
 * they lay then. Never changed; a later jobmgr runs it as it is, whichever header it is compiled with. */
#include "jobmgr_executor.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(JM_MAGIC == 0x315852474d424f4a && JM_ABI_MAJOR == 1, "the head");
_Static_assert(sizeof(jm_bytes) == 16 && offsetof(jm_bytes, len) == 8, "bytes");
_Static_assert(offsetof(jm_host, struct_size) == 0 && offsetof(jm_host, abi_major) == 4, "the head of the host");
_Static_assert(offsetof(jm_host, abi_minor) == 6 && offsetof(jm_host, reply) == 8, "host");
_Static_assert(offsetof(jm_host, log) == 16 && offsetof(jm_host, event) == 24, "host");
_Static_assert(offsetof(jm_host, checkpoint) == 32 && offsetof(jm_host, wait_stop) == 40, "host");
_Static_assert(offsetof(jm_host, on_stop) == 48 && offsetof(jm_host, request) == 56, "host");
_Static_assert(offsetof(jm_call, host) == 0, "call");
_Static_assert(offsetof(jm_plugin, magic) == 0 && offsetof(jm_plugin, struct_size) == 8, "the head of the plugin");
_Static_assert(offsetof(jm_plugin, abi_major) == 12 && offsetof(jm_plugin, abi_minor) == 14, "plugin");
_Static_assert(offsetof(jm_plugin, min_host_minor) == 16 && offsetof(jm_plugin, capabilities) == 24, "plugin");
_Static_assert(offsetof(jm_plugin, describe) == 32 && offsetof(jm_plugin, create) == 40, "plugin");
_Static_assert(offsetof(jm_plugin, destroy) == 48 && offsetof(jm_plugin, validate) == 56, "plugin");
_Static_assert(offsetof(jm_plugin, run) == 64 && offsetof(jm_plugin, recover) == 72, "plugin");
_Static_assert(offsetof(jm_plugin, cleanup) == 80, "plugin");
_Static_assert(JM_OK == 0 && JM_INVALID == 1 && JM_FAILED == 2 && JM_RETRY == 3 && JM_UNSUPPORTED == 4, "statuses");
_Static_assert(JM_STOPPED == 5 && JM_PANICKED == 6 && JM_LOST == 7 && JM_NEVER_STARTED == 8, "statuses");
_Static_assert(JM_STDOUT == 1 && JM_STDERR == 2 && JM_EXECUTOR == 3, "streams");
_Static_assert(JM_STOP_NONE == 0 && JM_STOP_CANCEL == 1 && JM_STOP_DETACH == 2 && JM_STOP_TIMEOUT == 3, "stops");
_Static_assert(JM_CAP_RECOVER == 1 && JM_CAP_CLEANUP == 2 && JM_CAP_CONCURRENT == 4, "capabilities");

static int instances;

static int32_t fail(jm_call *call, int32_t status, const char *why) {
    char text[200];
    int length = snprintf(text, sizeof text, "{\"error\": \"%s\"}", why);
    call->host->reply(call, (jm_bytes){(const uint8_t *)text, (size_t)length});
    return status;
}

static int contains(jm_bytes text, const char *part) {
    size_t length = strlen(part);
    for (size_t at = 0; at + length <= text.len; at++)
        if (memcmp(text.ptr + at, part, length) == 0) return 1;
    return 0;
}

static int32_t describe(jm_call *call) {
    call->host->reply(call, JM_LIT("{\"name\": \"whole\", \"version\": \"1.0.0\", \"config_schema\": true,"
                                   "\"options_schema\": {\"type\": \"object\", \"additionalProperties\": false,"
                                   "\"properties\": {\"Word\": {\"type\": \"string\"}}}}"));
    return JM_OK;
}

static int32_t create(jm_call *call, jm_bytes config, void **instance) {
    if (!contains(config, "\"Colour\":\"green\"")) return fail(call, JM_INVALID, "Colour: must be green");
    *instance = &instances;
    return JM_OK;
}

static void destroy(void *instance) { *(int *)instance = -1; }

static int32_t validate(void *instance, jm_call *call, jm_bytes options) {
    if (instance != &instances) return JM_FAILED;
    return contains(options, "\"Word\":\"bad\"") ? fail(call, JM_INVALID, "Word: is bad") : JM_OK;
}

static void stopped(void *user, uint32_t stop) { *(volatile uint32_t *)user = stop; }

static void answered(void *user, jm_bytes json) { *(int *)user = contains(json, "no.such.method"); }

static int32_t run(void *instance, jm_call *call, jm_bytes job) {
    const jm_host *host = call->host;
    static volatile uint32_t stop;
    int answer = 0;
    if (instance != &instances || !contains(job, "\"attempt\":1")) return fail(call, JM_FAILED, "instance or job");
    if (host->struct_size < 64 || host->abi_major != 1) return fail(call, JM_FAILED, "the host's head");
    if (host->log(call, JM_STDOUT, 0, JM_LIT("out\n")) != JM_OK) return fail(call, JM_FAILED, "log");
    if (host->log(call, JM_STDERR, UINT64_C(1700000000000000000), JM_LIT("err\n")) != JM_OK) return fail(call, JM_FAILED, "log");
    if (host->log(call, JM_EXECUTOR, 0, JM_LIT("own\n")) != JM_OK) return fail(call, JM_FAILED, "log");
    if (host->event(call, JM_LIT("{\"progress\": 50, \"message\": \"half\"}")) != JM_OK) return fail(call, JM_FAILED, "event");
    if (host->event(call, JM_LIT("no JSON")) != JM_INVALID) return fail(call, JM_FAILED, "event");
    if (host->checkpoint(call, JM_LIT("handle")) != JM_UNSUPPORTED) return fail(call, JM_FAILED, "checkpoint");
    host->on_stop(call, stopped, (void *)&stop);
    if (host->request(call, JM_LIT("no.such.method"), JM_LIT("{}"), answered, &answer) != JM_UNSUPPORTED || !answer)
        return fail(call, JM_FAILED, "request");
    if (contains(job, "\"Word\":\"wait\"")) {
        uint32_t why = host->wait_stop(call, 600000);
        host->on_stop(call, NULL, NULL);
        if (why == JM_STOP_NONE || stop != why) return fail(call, JM_FAILED, "on_stop");
        return fail(call, JM_STOPPED, "");
    }
    if (host->wait_stop(call, 1) != JM_STOP_NONE) return fail(call, JM_FAILED, "wait_stop");
    host->reply(call, JM_LIT("{\"ending\": {\"exited\": 1}}"));
    host->reply(call, JM_LIT("{\"ending\": {\"exited\": 0}}"));
    return JM_OK;
}

static const jm_plugin table = {
    JM_MAGIC, sizeof(jm_plugin), JM_ABI_MAJOR, JM_ABI_MINOR, 0, 0, 0, 0, describe, create, destroy, validate, run, NULL, NULL,
};

const jm_plugin *jobmgr_executor_v1(void) { return &table; }
