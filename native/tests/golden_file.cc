#include "golden_file.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

namespace edgedet {
namespace {

// JSON without escapes in its strings, which golden.json does without.
class Reader {
 public:
  Reader(std::string text, std::map<std::string, std::string>* leaves)
      : text_(std::move(text)), leaves_(*leaves) {}

  bool Read() { return Value("") && (Skip(), at_ == text_.size()); }

 private:
  void Skip() {
    while (at_ < text_.size() && std::strchr(" \n\r\t", text_[at_]) != nullptr) ++at_;
  }

  bool Take(char wanted) {
    Skip();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  bool String(std::string* value) {
    if (!Take('"')) return false;
    const size_t end = text_.find('"', at_);
    if (end == std::string::npos) return false;
    *value = text_.substr(at_, end - at_);
    at_ = end + 1;
    return value->find('\\') == std::string::npos;
  }

  bool Value(const std::string& path) {
    if (Take('{')) return Entries(path, '}', true);
    if (Take('[')) return Entries(path, ']', false);
    std::string value;
    Skip();
    if (at_ < text_.size() && text_[at_] == '"') {
      if (!String(&value)) return false;
    } else {
      const size_t end = text_.find_first_of(",]} \n", at_);
      if (end == std::string::npos || end == at_) return false;
      value = text_.substr(at_, end - at_);
      at_ = end;
    }
    return leaves_.emplace(path, value).second;
  }

  bool Entries(const std::string& path, char close, bool named) {
    if (Take(close)) return true;
    for (size_t index = 0;; ++index) {
      std::string name = std::to_string(index);
      if (named && !(String(&name) && Take(':'))) return false;
      if (!Value(path.empty() ? name : path + "." + name)) return false;
      if (Take(close)) return true;
      if (!Take(',')) return false;
    }
  }

  std::string text_;
  std::map<std::string, std::string>& leaves_;
  size_t at_ = 0;
};

bool ReadFile(const std::string& path, std::string* content) {
  std::ifstream file(path, std::ios::binary);
  content->assign(std::istreambuf_iterator<char>(file), {});
  return file.good() || file.eof();
}

size_t SizeOf(const std::string& dtype) {
  static const std::map<std::string, size_t> kSizes = {
      {"float32", 4}, {"int8", 1}, {"uint8", 1}, {"int16", 2}, {"int64", 8}, {"float64", 8}};
  const auto found = kSizes.find(dtype);
  return found == kSizes.end() ? 0 : found->second;
}

}  // namespace

int64_t GoldenArray::Count() const {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  return count;
}

bool GoldenFile::Open(const std::string& directory) {
  std::string json, bytes;
  if (!ReadFile(directory + "/golden.json", &json) ||
      !ReadFile(directory + "/golden.bin", &bytes) || !Reader(json, &leaves_).Read()) {
    return false;
  }
  bytes_.assign(bytes.begin(), bytes.end());
  while (Has(std::to_string(case_count_) + ".name")) ++case_count_;
  return case_count_ > 0;
}

bool GoldenFile::Has(const std::string& path) const { return leaves_.count(path) != 0; }

double GoldenFile::Number(const std::string& path, double otherwise) const {
  const auto found = leaves_.find(path);
  return found == leaves_.end() ? otherwise : std::strtod(found->second.c_str(), nullptr);
}

std::string GoldenFile::Text(const std::string& path) const {
  const auto found = leaves_.find(path);
  return found == leaves_.end() ? "" : found->second;
}

GoldenArray GoldenFile::Array(const std::string& path) const {
  GoldenArray array;
  array.dtype = Text(path + ".dtype");
  for (size_t axis = 0; Has(path + ".shape." + std::to_string(axis)); ++axis) {
    const double side = Number(path + ".shape." + std::to_string(axis), 0);
    array.shape.push_back(static_cast<int64_t>(side));
  }
  const auto offset = static_cast<size_t>(Number(path + ".offset", 0));
  const size_t size = static_cast<size_t>(array.Count()) * SizeOf(array.dtype);
  if (SizeOf(array.dtype) != 0 && offset <= bytes_.size() && size <= bytes_.size() - offset) {
    array.data = bytes_.data() + offset;
  }
  return array;
}

}  // namespace edgedet
