#include "candidate_keys.h"

#include <algorithm>

#include "scan.h"
#include "score_order.h"

namespace edgedet {
namespace {

// The first chunk is enough for most images; where suppression eats it up, larger ones keep the
// number of searches small. The largest bounds memory.
constexpr size_t kFirstChunk = 2048;
constexpr size_t kLargestChunk = 65536;
constexpr size_t kGrowth = 4;

}  // namespace

CandidateKeys::CandidateKeys(const Level* levels, const Numbering& numbering, float score_threshold,
                             int64_t chunk)
    : levels_(levels),
      numbering_(numbering),
      score_threshold_(score_threshold),
      chunk_(chunk > 0 ? static_cast<size_t>(chunk) : kFirstChunk) {}

bool CandidateKeys::Load(Buffer<uint64_t>* keys) {
  keys->clear();
  if (taken_ == UINT64_MAX) return true;
  lowest_ = score_threshold_;
  last_ = UINT64_MAX;
  for (int32_t l = 0; l < numbering_.level_count; ++l) {
    const auto count = static_cast<size_t>(numbering_.starts[l + 1] - numbering_.starts[l]);
    if (!Collect(levels_[l], count, static_cast<uint32_t>(numbering_.starts[l]), keys)) {
      return false;
    }
  }
  taken_ = last_;
  if (chunk_ < kLargestChunk) chunk_ = std::min(chunk_ * kGrowth, kLargestChunk);
  return SortByScore(keys);
}

bool CandidateKeys::Collect(const Level& level, size_t count, uint32_t start,
                            Buffer<uint64_t>* keys) {
  switch (level.classes.type) {
    case ElementType::kFloat32:
      return Collect<float>(level.classes, count, start, keys);
    case ElementType::kInt8:
      return Collect<int8_t>(level.classes, count, start, keys);
    case ElementType::kUint8:
      return Collect<uint8_t>(level.classes, count, start, keys);
    case ElementType::kInt16:
      return Collect<int16_t>(level.classes, count, start, keys);
  }
  return true;
}

template <typename T>
bool CandidateKeys::Collect(const HeadMap& map, size_t count, uint32_t start,
                            Buffer<uint64_t>* keys) {
  const auto* values = static_cast<const T*>(map.data);
  Threshold<T> low = ThresholdOf(map, lowest_, T());
  if (!low.reachable) return true;
  // Elements that score above the last one taken were all taken.
  Threshold<T> above = {false, T()};
  if (taken_ != 0) above = ThresholdOf(map, Successor(KeyScore(taken_)), T());
  Scores<T> scores(map);
  uint64_t passing = 0;
  for (size_t block = 0; block < count; block += kernels::kScanBlock) {
    block = above.reachable ? FindBlock(values, block, count, low.value, above.value, &passing)
                            : FindBlock(values, block, count, low.value, &passing);
    if (block >= count) break;
    const size_t held = keys->size();
    uint64_t* const added = keys->extend(static_cast<size_t>(__builtin_popcountll(passing)));
    if (added == nullptr) return false;
    size_t fresh = 0;
    for (; passing != 0; passing &= passing - 1) {
      const size_t at = block + static_cast<size_t>(__builtin_ctzll(passing));
      added[fresh] = ScoreKey(scores(values[at]), start + static_cast<uint32_t>(at));
      fresh += added[fresh] > taken_ ? 1 : 0;
    }
    if (!keys->resize(held + fresh)) return false;
    if (keys->size() >= 2 * chunk_) {
      if (!DropWorse(keys)) return false;
      low = ThresholdOf(map, lowest_, T());
      if (!low.reachable) return true;
    }
  }
  return true;
}

// Later candidates have higher indices: of the score of the last one kept, none would precede it.
bool CandidateKeys::DropWorse(Buffer<uint64_t>* keys) {
  if (!scratch_.resize(keys->size())) return false;
  std::copy(keys->begin(), keys->end(), scratch_.begin());
  uint64_t* const last = scratch_.begin() + (chunk_ - 1);
  std::nth_element(scratch_.begin(), last, scratch_.end());
  last_ = *last;
  lowest_ = Successor(KeyScore(last_));
  // The order must stay that of the indices, as SortByScore wants it.
  size_t kept = 0;
  for (const uint64_t key : *keys) {
    (*keys)[kept] = key;
    kept += key <= last_ ? 1 : 0;
  }
  return keys->resize(kept);
}

}  // namespace edgedet
