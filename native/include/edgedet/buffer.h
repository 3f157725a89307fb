#ifndef EDGEDET_BUFFER_H_
#define EDGEDET_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
#include <utility>

namespace edgedet {

// A growable array of plain values that reports a failed allocation instead of throwing.
template <typename T>
class Buffer {
  static_assert(std::is_trivially_copyable<T>::value, "realloc moves the elements");

 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t index) { return data_[index]; }
  const T& operator[](size_t index) const { return data_[index]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

  void clear() { size_ = 0; }
  void pop_back() { --size_; }

  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  [[nodiscard]] bool reserve(size_t count) {
    if (count <= capacity_) return true;
    if (count > PTRDIFF_MAX / sizeof(T)) return false;
    void* grown = std::realloc(static_cast<void*>(data_), count * sizeof(T));
    if (grown == nullptr) return false;
    data_ = static_cast<T*>(grown);
    capacity_ = count;
    return true;
  }

  // New elements are left uninitialized, here and in extend().
  [[nodiscard]] bool resize(size_t count) {
    if (!reserve(count)) return false;
    size_ = count;
    return true;
  }

  // Adds `count` elements and returns the first, or null when out of memory.
  [[nodiscard]] T* extend(size_t count) {
    if (capacity_ - size_ < count) {
      const size_t doubled = capacity_ == 0 ? 64 : 2 * capacity_;
      if (!reserve(doubled - size_ >= count ? doubled : size_ + count)) return nullptr;
    }
    T* added = data_ + size_;
    size_ += count;
    return added;
  }

  [[nodiscard]] bool push_back(const T& value) {
    T* added = extend(1);
    if (added == nullptr) return false;
    *added = value;
    return true;
  }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace edgedet

#endif  // EDGEDET_BUFFER_H_
