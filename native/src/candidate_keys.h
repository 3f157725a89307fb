#ifndef EDGEDET_SRC_CANDIDATE_KEYS_H_
#define EDGEDET_SRC_CANDIDATE_KEYS_H_

#include <cstddef>
#include <cstdint>

#include "edgedet/buffer.h"
#include "edgedet/postprocess.h"
#include "head_scores.h"

namespace edgedet {

constexpr int32_t kMaxLevels = 32;

// Candidates are numbered over all levels; level l begins at starts[l].
struct Numbering {
  int32_t level_count;
  int64_t starts[kMaxLevels + 1];
};

// The score keys (score_order.h) of all candidates at or above a score, best first, in chunks.
//
// However many candidates there are, a chunk's search holds no more than twice its size: when that
// many are found, the worse half goes, and the rest of the search wants scores above it. What was
// left out is searched again for the next chunk, which is larger.
class CandidateKeys {
 public:
  // Both arrays must outlive it. A chunk of 0 is chosen here.
  CandidateKeys(const Level* levels, const Numbering& numbering, float score_threshold,
                int64_t chunk);

  // Replaces `keys` by the next chunk in ascending order: empty when there are no more. False when
  // out of memory.
  [[nodiscard]] bool Load(Buffer<uint64_t>* keys);

 private:
  bool Collect(const Level& level, size_t count, uint32_t start, Buffer<uint64_t>* keys);
  template <typename T>
  bool Collect(const HeadMap& map, size_t count, uint32_t start, Buffer<uint64_t>* keys);
  bool DropWorse(Buffer<uint64_t>* keys);

  const Level* levels_;
  const Numbering& numbering_;
  float score_threshold_;
  size_t chunk_;
  float lowest_ = 0.0f;         // score that a candidate must reach for the chunk being searched
  uint64_t taken_ = 0;          // keys up to this one were in earlier chunks
  uint64_t last_ = UINT64_MAX;  // keys after this one wait for a later chunk
  Buffer<uint64_t> scratch_;
};

}  // namespace edgedet

#endif  // EDGEDET_SRC_CANDIDATE_KEYS_H_
