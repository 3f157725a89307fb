#include "kernels/letterbox_kernels.h"

#include "simd/simd.h"

namespace edgedet::EDGEDET_ISA {
namespace {

using kernels::ColumnTaps;
using kernels::kColumnBlock;
using kernels::Normalization;
using kernels::PixelOrder;
using kernels::YuvToRgb;
using simd::kQuads;

static_assert(kColumnBlock % simd::kLanes == 0, "whole vectors of columns");

void BlendRows(const uint8_t* __restrict top, const uint8_t* __restrict bottom, float weight,
               size_t count, float* __restrict blended) {
  const simd::F32 weights = simd::SetF32(weight);
  const auto blend = [&](size_t i) {
    const simd::F32 above = simd::LoadU8AsF32(top + i);
    const simd::F32 below = simd::LoadU8AsF32(bottom + i);
    simd::StoreF32(blended + i, simd::Add(above, simd::Mul(simd::Sub(below, above), weights)));
  };
  if (count >= simd::kLanes) {
    for (size_t i = 0; i + simd::kLanes <= count; i += simd::kLanes) blend(i);
    blend(count - simd::kLanes);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const float above = static_cast<float>(top[i]);
    const float below = static_cast<float>(bottom[i]);
    blended[i] = above + (below - above) * weight;
  }
}

template <PixelOrder kOrder>
simd::QuadsF32 LoadColumns(const float* row, const int32_t* at) {
  if constexpr (kOrder == kernels::kGrayPixels) return simd::SpreadQuads(row, at);
  const simd::QuadsF32 quads = simd::LoadQuads(row, at);
  if constexpr (kOrder == kernels::kBgrPixels) return simd::SwapFirstAndThird(quads);
  return quads;
}

template <PixelOrder kOrder, typename T>
void Finish(const float* __restrict row, const ColumnTaps& taps, const Normalization& normalization,
            T* __restrict tensor) {
  const simd::QuadsF32 mean = simd::RepeatQuad(normalization.mean);
  const simd::QuadsF32 gain = simd::RepeatQuad(normalization.gain);
  const simd::QuadsF32 low = simd::SetQuads(normalization.low);
  const simd::QuadsF32 high = simd::SetQuads(normalization.high);
  const simd::QuadsI32 zero_point = simd::SetQuadsI32(normalization.zero_point);
  const float* const right_row = row + taps.right_step;
  const auto finish = [&](size_t i, T* to) {
    const simd::QuadsF32 left = LoadColumns<kOrder>(row, taps.left + i);
    const simd::QuadsF32 right = LoadColumns<kOrder>(right_row, taps.left + i);
    const simd::QuadsF32 weight = simd::LoadPackedQuads(taps.weights + 4 * i);
    const simd::QuadsF32 value = simd::Add(left, simd::Mul(simd::Sub(right, left), weight));
    const simd::QuadsF32 normal = simd::Mul(simd::Sub(value, mean), gain);
    if constexpr (sizeof(T) == sizeof(float)) {
      simd::StoreTriples(to, normal);
    } else {
      const simd::QuadsF32 clamped = simd::Min(simd::Max(normal, low), high);
      simd::StoreTriples(to, simd::AddI32(simd::RoundToI32(clamped), zero_point));
    }
  };
  size_t i = 0;
  // Each store writes a fourth element per pixel beyond the three that count.
  for (; 3 * i + 4 * kQuads <= 3 * taps.count; i += kQuads) finish(i, tensor + 3 * i);
  for (; i < taps.count; i += kQuads) {
    T last[4 * kQuads];
    finish(i, last);
    const size_t rest = 3 * (taps.count - i);
    for (size_t k = 0; k < 3 * kQuads && k < rest; ++k) tensor[3 * i + k] = last[k];
  }
}

simd::I32 ToByte(simd::F32 value) {
  return simd::RoundToI32(simd::Min(simd::Max(value, simd::SetF32(0.0f)), simd::SetF32(255.0f)));
}

void ConvertYuv(const uint8_t* __restrict y, const uint8_t* __restrict u,
                const uint8_t* __restrict v, size_t count, const YuvToRgb& factors,
                int32_t* __restrict pixels) {
  const simd::F32 luma_offset = simd::SetF32(factors.luma_offset);
  const simd::F32 luma_gain = simd::SetF32(factors.luma_gain);
  const simd::F32 red_v = simd::SetF32(factors.red_v);
  const simd::F32 green_u = simd::SetF32(factors.green_u);
  const simd::F32 green_v = simd::SetF32(factors.green_v);
  const simd::F32 blue_u = simd::SetF32(factors.blue_u);
  const simd::F32 middle = simd::SetF32(128.0f);
  for (size_t block = 0; block < count; block += kColumnBlock) {
    for (size_t i = block; i < block + kColumnBlock; i += simd::kLanes) {
      const simd::F32 luma = simd::Mul(simd::Sub(simd::LoadU8AsF32(y + i), luma_offset), luma_gain);
      const simd::F32 cb = simd::Sub(simd::LoadU8AsF32(u + i), middle);
      const simd::F32 cr = simd::Sub(simd::LoadU8AsF32(v + i), middle);
      const simd::F32 red = simd::Add(luma, simd::Mul(cr, red_v));
      const simd::F32 green =
          simd::Sub(simd::Sub(luma, simd::Mul(cb, green_u)), simd::Mul(cr, green_v));
      const simd::F32 blue = simd::Add(luma, simd::Mul(cb, blue_u));
      const simd::I32 high =
          simd::AddI32(simd::ShiftLeft<8>(ToByte(green)), simd::ShiftLeft<16>(ToByte(blue)));
      simd::StoreI32(pixels + i, simd::AddI32(ToByte(red), high));
    }
  }
}

}  // namespace

#define EDGEDET_FINISH(T) \
  {Finish<kernels::kRgbPixels, T>, Finish<kernels::kBgrPixels, T>, Finish<kernels::kGrayPixels, T>}

extern const kernels::LetterboxKernels kLetterbox;
const kernels::LetterboxKernels kLetterbox = {
    BlendRows, EDGEDET_FINISH(float), EDGEDET_FINISH(int8_t), EDGEDET_FINISH(uint8_t), ConvertYuv};

}  // namespace edgedet::EDGEDET_ISA
