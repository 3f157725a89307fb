#include "edgedet/fusion.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "dispatch.h"
#include "kernels/fusion_kernels.h"

namespace edgedet {
namespace {

constexpr Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kRelu6,
                                       Activation::kSwish, Activation::kHardSwish};

FusionInput Map(const void* data, int32_t height, int32_t width, float weight) {
  return {data, height, width, {}, {}, weight, 1.0f, 0};
}

FusionOptions Fused(int32_t height, int32_t width, int32_t channels, ElementType type) {
  return {height, width, channels, type, Activation::kNone, 1.0f, 0};
}

std::vector<float> Fuse(const std::vector<FusionInput>& inputs, const FusionOptions& options) {
  std::vector<float> out(static_cast<size_t>(options.height * options.width * options.channels));
  EXPECT_EQ(WeightedFusion(inputs.data(), static_cast<int32_t>(inputs.size()), options, out.data()),
            Status::kOk);
  return out;
}

TEST(NormalizeFusionWeights, DividesByTheSumOfPositiveOnes) {
  const float weights[3] = {1.0f, -5.0f, 3.0f};
  float normalized[3];
  ASSERT_TRUE(NormalizeFusionWeights(weights, 3, 1.0f, normalized));
  EXPECT_EQ(normalized[0], 0.2f);
  EXPECT_EQ(normalized[1], 0.0f);
  EXPECT_EQ(normalized[2], 0.6f);
  EXPECT_FALSE(NormalizeFusionWeights(weights + 1, 1, 0.0f, normalized));
  const float huge[2] = {3e38f, 3e38f};
  EXPECT_FALSE(NormalizeFusionWeights(huge, 2, 0.0f, normalized));
}

TEST(WeightedFusion, RepeatsSmallerMapsAndCutsTheLast) {
  const std::vector<float> first(3 * 5, 0.0f);
  const std::vector<float> coarse = {1, 2, 3, 4, 5, 6};
  FusionInput repeated = Map(coarse.data(), 2, 3, 1.0f);
  repeated.rows.repeat = repeated.columns.repeat = 2;
  const std::vector<float> expected = {1, 1, 2, 2, 3, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6};
  EXPECT_EQ(Fuse({Map(first.data(), 3, 5, 1.0f), repeated}, Fused(3, 5, 1, ElementType::kFloat32)),
            expected);
}

TEST(WeightedFusion, PoolsEvenSidesFromTheirStart) {
  // The window of an even side is 2i .. 2i + 2, that of an odd one 2i - 1 .. 2i + 1.
  const std::vector<float> fine = {9, 0, 0, 7, 0, 0};
  FusionInput pooled = Map(fine.data(), 1, 6, 1.0f);
  pooled.columns.halvings = 1;
  EXPECT_EQ(Fuse({pooled}, Fused(1, 3, 1, ElementType::kFloat32)), (std::vector<float>{9, 7, 0}));
  pooled.width = 5;
  EXPECT_EQ(Fuse({pooled}, Fused(1, 3, 1, ElementType::kFloat32)), (std::vector<float>{9, 7, 7}));
}

TEST(WeightedFusion, TwoPoolingsAreOneAfterTheOther) {
  std::mt19937 random(1);
  std::vector<float> fine(13 * 6 * 3);
  for (float& value : fine) value = static_cast<float>(random() % 1000) - 500.0f;
  FusionInput once = Map(fine.data(), 13, 6, 1.0f);
  once.rows.halvings = once.columns.halvings = 1;
  const std::vector<float> half = Fuse({once}, Fused(7, 3, 3, ElementType::kFloat32));
  FusionInput again = Map(half.data(), 7, 3, 1.0f);
  again.rows.halvings = again.columns.halvings = 1;
  FusionInput twice = once;
  twice.rows.halvings = twice.columns.halvings = 2;
  const FusionOptions quarter = Fused(4, 2, 3, ElementType::kFloat32);
  EXPECT_EQ(Fuse({twice}, quarter), Fuse({again}, quarter));
}

TEST(WeightedFusion, QuantizesHalfToEvenAndSaturates) {
  const std::vector<int8_t> values = {1, 3, 5, -1, 127, -128};
  FusionInput input = Map(values.data(), 1, 6, 1.0f);
  input.scale = 0.5f;
  FusionOptions options = Fused(1, 6, 1, ElementType::kInt8);
  options.zero_point = -100;
  std::vector<int8_t> out(6);
  ASSERT_EQ(WeightedFusion(&input, 1, options, out.data()), Status::kOk);
  EXPECT_EQ(out, (std::vector<int8_t>{-100, -98, -98, -100, -36, -128}));
}

TEST(WeightedFusion, RefusesWhatCannotBe) {
  const std::vector<float> data(64, 1.0f);
  const FusionInput good = Map(data.data(), 4, 4, 1.0f);
  const FusionOptions options = Fused(4, 4, 1, ElementType::kFloat32);
  std::vector<float> out(64);
  const auto refused = [&](const FusionInput& input, const FusionOptions& fused) {
    return WeightedFusion(&input, 1, fused, out.data()) == Status::kInvalidArgument;
  };
  EXPECT_FALSE(refused(good, options));
  std::vector<FusionInput> bad(8, good);
  bad[0].data = nullptr;
  bad[1].height = 3;
  bad[2].rows.repeat = 2;
  bad[3].columns.halvings = 1;
  bad[4].columns.halvings = -1;
  bad[5].weight = std::numeric_limits<float>::quiet_NaN();
  bad[6].rows.repeat = 0;
  bad[7].height = 8;
  bad[7].rows = {2, 1};
  for (size_t i = 0; i < bad.size(); ++i) EXPECT_TRUE(refused(bad[i], options)) << i;
  std::vector<FusionOptions> wrong(4, options);
  wrong[0].type = ElementType::kUint8;
  wrong[1].channels = 0;
  wrong[2].channels = std::numeric_limits<int32_t>::max();
  wrong[3].height = -1;
  for (size_t i = 0; i < wrong.size(); ++i) EXPECT_TRUE(refused(good, wrong[i])) << i;
  FusionOptions quantized = Fused(4, 4, 1, ElementType::kInt8);
  quantized.zero_point = 128;
  EXPECT_TRUE(refused(good, quantized));
  quantized.zero_point = 0;
  quantized.scale = 0.0f;
  EXPECT_TRUE(refused(good, quantized));
  EXPECT_EQ(WeightedFusion(&good, 0, options, out.data()), Status::kInvalidArgument);
  EXPECT_EQ(WeightedFusion(&good, 1, options, nullptr), Status::kInvalidArgument);
}

// Distance in float32 steps.
int64_t Ulps(float a, float b) {
  const auto place = [](float value) {
    const auto bits = __builtin_bit_cast(int32_t, value);
    return bits < 0 ? int64_t{INT32_MIN} - bits : int64_t{bits};
  };
  return std::abs(place(a) - place(b));
}

TEST(FusionKernels, SwishIsWithinTwoSteps) {
  std::vector<float> arguments;
  for (float x = -87.0f; x < 100.0f; x += 0.00137f) arguments.push_back(x);
  for (float x = 1e-38f; x < 1.0f; x *= 1.0313f) {
    arguments.push_back(x);
    arguments.push_back(-x);
  }
  std::vector<float> found(arguments.size());
  const kernels::FusionTerm<float> term = {arguments.data(), 1.0f, 0};
  ActiveKernels().fusion->fuse_f32(&term, 1, Activation::kSwish, arguments.size(), found.data());
  int64_t worst = 0;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const double x = static_cast<double>(arguments[i]);
    worst = std::max(worst, Ulps(found[i], static_cast<float>(x / (1.0 + std::exp(-x)))));
  }
  EXPECT_LE(worst, 2);
  RecordProperty("worst_ulps", static_cast<int>(worst));
}

TEST(FusionKernels, SwishKeepsItsLimits) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> arguments = {-infinity, -1e30f, -88.5f, 0.0f, 1e30f, infinity, nan};
  std::vector<float> found(arguments.size());
  const kernels::FusionTerm<float> term = {arguments.data(), 1.0f, 0};
  ActiveKernels().fusion->fuse_f32(&term, 1, Activation::kSwish, arguments.size(), found.data());
  EXPECT_EQ(std::vector<float>(found.begin(), found.end() - 1),
            (std::vector<float>{0.0f, 0.0f, 0.0f, 0.0f, 1e30f, infinity}));
  EXPECT_TRUE(std::isnan(found.back()));
}

template <typename T>
std::vector<T> RandomValues(std::mt19937& random, size_t count);

template <>
std::vector<float> RandomValues(std::mt19937& random, size_t count) {
  std::vector<float> values(count);
  std::normal_distribution<float> normal(0.0f, 4.0f);
  const float odd[] = {0.0f,   -0.0f, 1e-42f, -1e30f, 3e38f, std::numeric_limits<float>::infinity(),
                       -100.0f};
  for (float& value : values) value = random() % 20 == 0 ? odd[random() % 7] : normal(random);
  return values;
}

template <>
std::vector<int8_t> RandomValues(std::mt19937& random, size_t count) {
  std::vector<int8_t> values(count);
  for (int8_t& value : values) value = static_cast<int8_t>(random());
  return values;
}

// NaN is compared as such: its bits follow the operands' order in the machine's instruction.
template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != a[i] && b[i] != b[i]) continue;
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return false;
  }
  return true;
}

TEST(FusionKernels, EveryInstructionSetGivesTheBitsOfTheScalarOne) {
  const AvailableKernels available = FindAvailableKernels();
  const kernels::FusionKernels& scalar = *available.best_first[available.count - 1]->fusion;
  std::mt19937 random(7);
  const float factors[4] = {0.4999f, 1.0f, 0.0f, 1.7f};
  const kernels::FusionStore store = {1.0f / 0.043f, -131.0f, 124.0f, 3};
  for (const size_t count : {1u, 3u, 4u, 7u, 8u, 15u, 16u, 17u, 31u, 64u, 203u}) {
    for (size_t term_count = 1; term_count <= 4; ++term_count) {
      std::vector<std::vector<float>> reals;
      std::vector<std::vector<int8_t>> bytes;
      std::vector<kernels::FusionTerm<float>> real_terms;
      std::vector<kernels::FusionTerm<int8_t>> byte_terms;
      for (size_t t = 0; t < term_count; ++t) {
        reals.push_back(RandomValues<float>(random, count));
        bytes.push_back(RandomValues<int8_t>(random, count));
        real_terms.push_back({reals.back().data(), factors[t], 0});
        byte_terms.push_back({bytes.back().data(), factors[t] * 0.04f, static_cast<int>(t) - 2});
      }
      for (const Activation activation : kActivations) {
        std::vector<float> real(count);
        std::vector<int8_t> byte(count);
        scalar.fuse_f32(real_terms.data(), term_count, activation, count, real.data());
        scalar.fuse_i8(byte_terms.data(), term_count, activation, store, count, byte.data());
        for (size_t k = 0; k + 1 < available.count; ++k) {
          const kernels::FusionKernels& vector = *available.best_first[k]->fusion;
          std::vector<float> real_found(count);
          std::vector<int8_t> byte_found(count);
          vector.fuse_f32(real_terms.data(), term_count, activation, count, real_found.data());
          vector.fuse_i8(byte_terms.data(), term_count, activation, store, count,
                         byte_found.data());
          EXPECT_TRUE(SameBits(real_found, real)) << available.best_first[k]->isa << " " << count;
          EXPECT_EQ(byte_found, byte) << available.best_first[k]->isa << " " << count;
        }
      }
      std::vector<float> larger = reals.front();
      scalar.max_f32(reals.back().data(), count, larger.data());
      for (size_t k = 0; k + 1 < available.count; ++k) {
        std::vector<float> found = reals.front();
        available.best_first[k]->fusion->max_f32(reals.back().data(), count, found.data());
        EXPECT_TRUE(SameBits(found, larger)) << available.best_first[k]->isa << " " << count;
      }
    }
  }
}

}  // namespace
}  // namespace edgedet
