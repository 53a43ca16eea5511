// An executor that lets an exception out of a function, which none may do.
#include "jobmgr_executor.h"
#include <stdexcept>

static int32_t describe(jm_call *call) {
    call->host->reply(call, JM_LIT("{\"name\": \"throws\", \"version\": \"0\"}"));
    return JM_OK;
}

static int32_t create(jm_call *, jm_bytes, void **) { return JM_OK; }

static int32_t run(void *, jm_call *, jm_bytes) { throw std::runtime_error("out of here"); }

static const jm_plugin table = {JM_PLUGIN_HEAD, 0, describe, create, nullptr, nullptr, run, nullptr, nullptr};

extern "C" const jm_plugin *jobmgr_executor_v1(void) { return &table; }
