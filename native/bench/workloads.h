#ifndef EDGEDET_BENCH_WORKLOADS_H_
#define EDGEDET_BENCH_WORKLOADS_H_

#include <cstddef>

// The public functions on inputs of typical size, for timing and for counting instructions. Inputs
// are the same on every machine.
namespace edgedet::bench {

struct Workload {
  const char* name;
  void (*run)();  // makes its inputs at the first call; aborts when the function fails
};

// All of them; sets `count`.
const Workload* AllWorkloads(size_t* count);

}  // namespace edgedet::bench

#endif  // EDGEDET_BENCH_WORKLOADS_H_
