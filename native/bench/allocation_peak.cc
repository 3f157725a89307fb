// Counts the heap memory of a process that is started with this library in LD_PRELOAD. Works with
// glibc, whose own allocator stays reachable under second names.

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* block);
}

namespace {

std::atomic<int64_t> held{0};
std::atomic<int64_t> peak{0};
std::atomic<int64_t> base{0};

void* Added(void* block) {
  if (block == nullptr) return block;
  const auto size = static_cast<int64_t>(malloc_usable_size(block));
  const int64_t now = held.fetch_add(size) + size;
  int64_t highest = peak.load();
  while (now > highest && !peak.compare_exchange_weak(highest, now)) {
  }
  return block;
}

void Removed(size_t size) { held.fetch_sub(static_cast<int64_t>(size)); }

}  // namespace

extern "C" {

// From here on the peak counts anew.
void edgedet_allocation_reset() {
  base = held.load();
  peak = held.load();
}

// Most bytes held since the reset beyond those held then.
int64_t edgedet_allocation_peak() { return peak.load() - base.load(); }

void* malloc(size_t size) { return Added(__libc_malloc(size)); }

void* calloc(size_t count, size_t size) { return Added(__libc_calloc(count, size)); }

// Where glibc moves a block, both places are held while it copies; the peak counts them so.
void* realloc(void* block, size_t size) {
  const size_t before = block == nullptr ? 0 : malloc_usable_size(block);
  void* moved = __libc_realloc(block, size);
  if (moved == nullptr) {
    if (size == 0) Removed(before);
    return nullptr;
  }
  if (moved == block) {
    Removed(before);
    return Added(moved);
  }
  Added(moved);
  Removed(before);
  return moved;
}

void* memalign(size_t alignment, size_t size) { return Added(__libc_memalign(alignment, size)); }

void* aligned_alloc(size_t alignment, size_t size) {
  return Added(__libc_memalign(alignment, size));
}

int posix_memalign(void** block, size_t alignment, size_t size) {
  *block = Added(__libc_memalign(alignment, size));
  return *block == nullptr ? ENOMEM : 0;
}

void free(void* block) {
  if (block != nullptr) Removed(malloc_usable_size(block));
  __libc_free(block);
}

}  // extern "C"
