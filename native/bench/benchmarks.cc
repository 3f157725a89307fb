// Google Benchmark's times of the public functions, with the instruction set that EDGEDET_FORCE_ISA
// names, and of the kernels, with each instruction set that this machine runs.

#include <benchmark/benchmark.h>

#include <string>

#include "dispatch.h"
#include "edgedet/isa.h"
#include "samples.h"
#include "workloads.h"

namespace edgedet::bench {
namespace {

using kernels::BoxBlock;
using kernels::Kernels;

// A map of EfficientDet-D0's finest level in which nothing passes, so that all of it is read.
constexpr size_t kScanned = size_t{64} * 64 * 9 * 90;

template <typename T, typename Find>
void Scan(benchmark::State& state, Find find, T value, T threshold) {
  Buffer<T> values;
  if (!values.resize(kScanned)) return state.SkipWithError("out of memory");
  for (T& each : values) each = value;
  uint64_t passing = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(find(values.data(), 0, kScanned, threshold, &passing));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kScanned * sizeof(T)));
}

// A box beside a list of kept ones that it overlaps with none of.
void Overlap(benchmark::State& state, const Kernels* kernels) {
  constexpr uint32_t kBlocks = 64;
  static BoxBlock blocks[kBlocks];
  for (uint32_t block = 0; block < kBlocks; ++block) {
    for (int i = 0; i < kernels::kBlockBoxes; ++i) {
      const auto low = static_cast<float>(10 * (static_cast<int>(block) + i));
      blocks[block].x0[i] = low;
      blocks[block].y0[i] = low;
      blocks[block].x1[i] = low + 9.0f;
      blocks[block].y1[i] = low + 9.0f;
      blocks[block].area[i] = 81.0f;
    }
    blocks[block].next = block + 1 < kBlocks ? block + 1 : kernels::kNoBlock;
  }
  const Box box = {-20.0f, -20.0f, -10.0f, -10.0f};
  for (auto _ : state) {
    benchmark::DoNotOptimize(kernels->overlap->overlaps_any(blocks, 0, box, 100.0f, 0.5f));
  }
  state.SetItemsProcessed(
      static_cast<int64_t>(state.iterations() * kBlocks * kernels::kBlockBoxes));
}

// The step of the letterbox that reads every pixel.
void BlendRows(benchmark::State& state, const Kernels* kernels) {
  constexpr size_t kRow = size_t{1280} * 3;
  static uint8_t rows[2][kRow];
  static float blended[kRow];
  for (auto _ : state) {
    kernels->letterbox->blend_rows(rows[0], rows[1], 0.25f, kRow, blended);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kRow));
}

// The step that makes one row of the tensor: 384 columns of a blended row of 1280.
void FinishRow(benchmark::State& state, const Kernels* kernels) {
  constexpr size_t kColumns = 384;
  static float row[1280 * 3 + 4];
  static int32_t left[kColumns];
  static float weights[4 * kColumns];
  static int8_t tensor[3 * kColumns + 64];
  for (size_t i = 0; i < kColumns; ++i) {
    left[i] = static_cast<int32_t>(3 * (10 * i / 3));
    for (int lane = 0; lane < 4; ++lane) weights[4 * i + lane] = 0.25f;
  }
  const kernels::ColumnTaps taps = {left, weights, 3, kColumns};
  const kernels::Normalization normalization = {
      {127.5f, 127.5f, 127.5f, 0.0f}, {1.0f, 1.0f, 1.0f, 0.0f}, -128.0f, 127.0f, 0};
  for (auto _ : state) {
    kernels->letterbox->finish_i8[kernels::kRgbPixels](row, taps, normalization, tensor);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kColumns));
}

// A row of 64 places and 64 channels from three maps.
void FuseRow(benchmark::State& state, const Kernels* kernels) {
  constexpr size_t kRow = size_t{64} * 64;
  static float maps[3][kRow];
  static float fused[kRow];
  const kernels::FusionTerm<float> terms[] = {
      {maps[0], 0.5f, 0}, {maps[1], 0.3f, 0}, {maps[2], 0.2f, 0}};
  for (auto _ : state) {
    kernels->fusion->fuse_f32(terms, 3, Activation::kSwish, kRow, fused);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kRow));
}

template <typename Function>
void Register(const std::string& name, Function function) {
  benchmark::RegisterBenchmark(name.c_str(), function)->Unit(benchmark::kMicrosecond);
}

void RegisterAll() {
  const AvailableKernels available = FindAvailableKernels();
  for (size_t i = 0; i < available.count; ++i) {
    const Kernels* kernels = available.best_first[i];
    const std::string suffix = std::string("/") + kernels->isa;
    Register("kernel/find_i8" + suffix, [kernels](benchmark::State& state) {
      Scan<int8_t>(state, kernels->scan->find_i8, -10, 10);
    });
    Register("kernel/find_f32" + suffix, [kernels](benchmark::State& state) {
      Scan<float>(state, kernels->scan->find_f32, -7.0f, -3.0f);
    });
    Register("kernel/overlaps_any" + suffix,
             [kernels](benchmark::State& state) { Overlap(state, kernels); });
    Register("kernel/blend_rows" + suffix,
             [kernels](benchmark::State& state) { BlendRows(state, kernels); });
    Register("kernel/finish_i8" + suffix,
             [kernels](benchmark::State& state) { FinishRow(state, kernels); });
    Register("kernel/fuse_f32_swish" + suffix,
             [kernels](benchmark::State& state) { FuseRow(state, kernels); });
  }
  size_t count = 0;
  const Workload* workloads = AllWorkloads(&count);
  for (size_t i = 0; i < count; ++i) {
    const auto run = workloads[i].run;
    Register(std::string(workloads[i].name) + "/" + ActiveIsa(), [run](benchmark::State& state) {
      run();  // makes the inputs
      for (auto _ : state) run();
    });
  }
}

}  // namespace
}  // namespace edgedet::bench

int main(int argc, char** argv) {
  edgedet::bench::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
