#include "class_index.h"

namespace edgedet {
namespace {

constexpr uint32_t kFree = UINT32_MAX;

// 2^64 divided by the golden ratio: consecutive ids spread over the whole table (Knuth, TAOCP 3,
// section 6.4).
constexpr uint64_t kSpread = 0x9E3779B97F4A7C15u;

}  // namespace

bool ClassIndex::Init(size_t ids) {
  int bits = 4;
  while ((size_t{1} << bits) < 2 * ids) ++bits;
  if (!slots_.resize(size_t{1} << bits)) return false;
  for (Slot& slot : slots_) slot = {0, kFree};
  shift_ = 64 - bits;
  count_ = 0;
  return true;
}

uint32_t ClassIndex::IndexOf(int64_t id) {
  const size_t mask = slots_.size() - 1;
  size_t at = static_cast<size_t>((static_cast<uint64_t>(id) * kSpread) >> shift_);
  while (slots_[at].index != kFree && slots_[at].id != id) at = (at + 1) & mask;
  if (slots_[at].index == kFree) slots_[at] = {id, count_++};
  return slots_[at].index;
}

}  // namespace edgedet
