#include "engine/system/one_thread.hpp"

#include "engine/require.hpp"

ARGTAPE_PUBLIC_BEGIN

// Each thread has another address for it.
#if defined(__ELF__)
__attribute__((tls_model("initial-exec")))
#endif
static thread_local char this_thread = 0;

// Without a lock, which would cost a tape of small nodes a tenth of its time: that both find it
// free within the same few nanoseconds is not excluded. Nor does it order what the threads do, so
// that the thread sanitizer sees all that it would see without.
OneThread::Hold::Hold(OneThread& thing, const char* what)
    : thing_(thing), before_(thing.user_.load(std::memory_order_relaxed)) {
  if (before_ == &this_thread) return;
  require<std::logic_error>(
      !before_, what,
      ": two threads use it at once; need one for each thread, or one thread after the other");
  thing.user_.store(&this_thread, std::memory_order_relaxed);
}

ARGTAPE_END
