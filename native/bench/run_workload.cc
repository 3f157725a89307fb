// edgedet_workloads lists the workloads; edgedet_workloads NAME COUNT runs one of them, for tools
// that count from outside.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "workloads.h"

int main(int argc, char** argv) {
  size_t count = 0;
  const edgedet::bench::Workload* workloads = edgedet::bench::AllWorkloads(&count);
  if (argc == 1) {
    for (size_t i = 0; i < count; ++i) std::puts(workloads[i].name);
    return 0;
  }
  const long runs = argc == 3 ? std::strtol(argv[2], nullptr, 10) : 0;
  for (size_t i = 0; i < count && runs > 0; ++i) {
    if (std::strcmp(workloads[i].name, argv[1]) != 0) continue;
    for (long run = 0; run < runs; ++run) workloads[i].run();
    return 0;
  }
  std::fprintf(stderr, "usage: %s [NAME COUNT], with a NAME that it lists without them\n", argv[0]);
  return 2;
}
