#ifndef EDGEDET_SRC_SUPPRESSION_H_
#define EDGEDET_SRC_SUPPRESSION_H_

#include <algorithm>
#include <cstdint>

#include "edgedet/boxes.h"
#include "edgedet/buffer.h"
#include "edgedet/soft_nms.h"
#include "edgedet/status.h"
#include "kept_boxes.h"
#include "score_order.h"
#include "soft_decay.h"

namespace edgedet {

// The suppressions take candidates in the order of their score keys and pass on what they select.
//
// Candidates:  bool Next(uint64_t* key)               false after the last one, or on failure
//              bool BoxOf(uint32_t index, Box* box)   false for a box that can't be used
//              uint32_t ClassOf(uint32_t index)       small numbers from 0
//              Status status()
// Selection:   bool full()
//              bool Add(uint32_t index, float score, const Box& box)   false when out of memory

template <typename Candidates, typename Selection>
Status SelectAll(Candidates* candidates, Selection* selection) {
  uint64_t key = 0;
  while (!selection->full() && candidates->Next(&key)) {
    Box box;
    if (!candidates->BoxOf(KeyIndex(key), &box)) continue;
    if (!selection->Add(KeyIndex(key), KeyScore(key), box)) return Status::kOutOfMemory;
  }
  return candidates->status();
}

// Leaves out what overlaps a box selected before by an IoU greater than the threshold.
template <typename Candidates, typename Selection>
Status SuppressHard(float iou_threshold, Candidates* candidates, Selection* selection) {
  KeptBoxes kept;
  uint64_t key = 0;
  while (!selection->full() && candidates->Next(&key)) {
    const uint32_t index = KeyIndex(key);
    Box box;
    if (!candidates->BoxOf(index, &box)) continue;
    const uint32_t class_index = candidates->ClassOf(index);
    if (kept.OverlapsAny(box, class_index, iou_threshold)) continue;
    if (!kept.Keep(box, class_index) || !selection->Add(index, KeyScore(key), box)) {
      return Status::kOutOfMemory;
    }
  }
  return candidates->status();
}

// Soft-NMS without its quadratic rescoring: as scores only fall, a candidate is rescored when it is
// the best one left, and then against the boxes selected since it was last. If its score fell it
// goes back into a queue, else it is selected.
template <typename Candidates, typename Selection>
Status SuppressSoftly(const SoftDecay& decay, Candidates* candidates, Selection* selection) {
  struct Rescored {
    uint64_t key;
    KeptBoxes::Place compared;
  };
  const auto later = [](const Rescored& a, const Rescored& b) { return a.key > b.key; };
  KeptBoxes kept;
  Buffer<Rescored> queue;  // a heap
  Rescored next = {};      // the best candidate that was never rescored
  bool have_next = false;
  uint64_t passed = 0;  // the last such candidate that was taken
  while (!selection->full()) {
    // What precedes a candidate already taken precedes all that are still to come.
    if (!have_next && !(queue.size() > 0 && queue[0].key < passed)) {
      next = {};
      have_next = candidates->Next(&next.key);
      if (!have_next && queue.size() == 0) break;
    }
    Rescored best;
    if (queue.size() > 0 && !(have_next && next.key < queue[0].key)) {
      std::pop_heap(queue.begin(), queue.end(), later);
      best = queue[queue.size() - 1];
      queue.pop_back();
    } else {
      best = next;
      passed = next.key;
      have_next = false;
    }
    const uint32_t index = KeyIndex(best.key);
    Box box;
    if (!candidates->BoxOf(index, &box)) continue;
    const uint32_t class_index = candidates->ClassOf(index);
    const float before = KeyScore(best.key);
    const float score = decay.Rescore(kept, box, class_index, before, &best.compared);
    if (score == before) {
      if (!kept.Keep(box, class_index) || !selection->Add(index, score, box)) {
        return Status::kOutOfMemory;
      }
    } else if (score >= decay.score_threshold) {
      best.key = ScoreKey(score, index);
      if (!queue.push_back(best)) return Status::kOutOfMemory;
      std::push_heap(queue.begin(), queue.end(), later);
    }
  }
  return candidates->status();
}

}  // namespace edgedet

#endif  // EDGEDET_SRC_SUPPRESSION_H_
