#ifndef EDGEDET_TESTS_GOLDEN_FILE_H_
#define EDGEDET_TESTS_GOLDEN_FILE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace edgedet {

// An array of a case, inside the bytes of golden.bin.
struct GoldenArray {
  std::string dtype;
  std::vector<int64_t> shape;
  const void* data = nullptr;

  int64_t Count() const;

  template <typename T>
  const T* As() const {
    return static_cast<const T*>(data);
  }
};

// golden.json and golden.bin: tests/native/golden/README.md tells what they hold.
//
// The JSON is kept as its leaves: "3.inputs.boxes.shape.0" -> "40" for what a program would reach
// as cases[3]["inputs"]["boxes"]["shape"][0].
class GoldenFile {
 public:
  // False where a file is missing or is not of this form.
  bool Open(const std::string& directory);

  size_t CaseCount() const { return case_count_; }
  bool Has(const std::string& path) const;
  // The number of a path, or `otherwise` where there is none.
  double Number(const std::string& path, double otherwise) const;
  std::string Text(const std::string& path) const;
  // Null data where there is no such array.
  GoldenArray Array(const std::string& path) const;

 private:
  std::map<std::string, std::string> leaves_;
  std::vector<uint8_t> bytes_;
  size_t case_count_ = 0;
};

}  // namespace edgedet

#endif  // EDGEDET_TESTS_GOLDEN_FILE_H_
