/* Rust's standard library takes its random bytes from bcryptprimitives.dll, which Wine has only since version 9.
   Built by .ci/windows where Wine lacks it; bcrypt.dll, which it has, does the work. */
#include <windows.h>
#include <bcrypt.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count)
{
    const SIZE_T most = 1 << 20;
    for (SIZE_T part; count > 0; bytes += part, count -= part) {
        part = count < most ? count : most;
        if (BCryptGenRandom(NULL, bytes, (ULONG)part, BCRYPT_USE_SYSTEM_PREFERRED_RNG) != 0)
            return FALSE;
    }
    return TRUE;
}
