#ifndef EDGEDET_SRC_LETTERBOX_ROWS_H_
#define EDGEDET_SRC_LETTERBOX_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "edgedet/buffer.h"
#include "edgedet/letterbox.h"
#include "kernels/letterbox_kernels.h"

namespace edgedet {

// The two source indices that a resized row or column lies between, and the upper one's weight.
struct Tap {
  int64_t low;
  int64_t high;
  float weight;
};

// Upright coordinates, after rotation and mirroring, in terms of the image's own.
struct Orientation {
  bool transposed;  // upright rows run along the image's columns
  bool rows_reversed;
  bool columns_reversed;
  int64_t height;  // upright
  int64_t width;
};

// `rotation` must be a multiple of 90 within 0..270.
Orientation OrientationOf(const ImageView& image, int32_t rotation, bool mirror);

// The rows of an upright image as bytes that the kernels can blend. They lie in the image itself
// where rotation and format allow; other rows have the columns that are needed copied, and the
// last two are kept, because the next resized row often lies between the same ones.
class LetterboxRows {
 public:
  // `columns` are the taps of the resized columns. False when out of memory.
  [[nodiscard]] bool Init(const ImageView& image, const Orientation& orientation,
                          const Buffer<Tap>& columns);

  // Row `y` of the upright image, size() bytes. It stays as it is until a row other than its
  // neighbours is asked for.
  const uint8_t* Row(int64_t y);

  size_t size() const { return size_; }
  kernels::PixelOrder order() const { return order_; }
  // Where in a row the lower column of a tap begins, and how far on the upper one does.
  ptrdiff_t LowOffset(size_t column, const Tap& tap) const;
  ptrdiff_t high_step() const { return high_step_; }

 private:
  // One channel's samples in upright coordinates.
  struct Channel {
    const uint8_t* data;
    ptrdiff_t row_stride;
    int shift;                  // source pixels per sample, as a power of two
    Buffer<ptrdiff_t> columns;  // offset of each needed column's sample, in whole blocks
  };
  enum class Source { kInPlace, kPixels, kChannels, kGray, kYuv };

  bool InitInPlace(const ImageView& image, const Orientation& orientation, size_t columns);
  bool InitCopied(const ImageView& image, const Orientation& orientation,
                  const Buffer<Tap>& columns);
  const uint8_t* ChannelRow(const Channel& channel, int64_t y) const;
  void CopyPixels(int64_t y, uint8_t* row) const;
  void CopyChannels(int64_t y, uint8_t* row) const;
  void CopyGray(int64_t y, uint8_t* row) const;
  void CopyYuv(int64_t y, uint8_t* row);

  Source source_ = Source::kInPlace;
  kernels::PixelOrder order_ = kernels::kRgbPixels;
  size_t size_ = 0;
  ptrdiff_t pixel_ = 0;  // bytes from a needed pixel to the next; negative in mirrored rows
  ptrdiff_t first_ = 0;  // where the pixel of upright column 0 begins
  ptrdiff_t high_step_ = 0;
  bool paired_ = false;  // rows hold two pixels for each tap, in place of every pixel
  bool rows_reversed_ = false;
  int64_t height_ = 0;
  size_t needed_ = 0;  // pixels in a copied row

  const uint8_t* in_place_ = nullptr;
  ptrdiff_t row_stride_ = 0;

  Channel channels_[3] = {};
  const uint8_t* last_word_ = nullptr;  // four bytes from here on are the image's
  ptrdiff_t last_column_ = 0;           // the largest offset of a needed column
  kernels::YuvToRgb yuv_ = {};
  Buffer<uint8_t> samples_;  // of the needed columns of the row being copied, Y, U and V
  int64_t chroma_row_ = -1;  // whose samples of U and V are there
  Buffer<uint8_t> copies_[2];
  int64_t copied_[2] = {-1, -1};
};

}  // namespace edgedet

#endif  // EDGEDET_SRC_LETTERBOX_ROWS_H_
