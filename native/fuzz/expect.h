#ifndef EDGEDET_FUZZ_EXPECT_H_
#define EDGEDET_FUZZ_EXPECT_H_

#include <cstdio>
#include <cstdlib>

// A broken promise ends the fuzzer, in every build type, with the promise as its report.
#define EXPECT(promise)                                                          \
  do {                                                                           \
    if (!(promise)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #promise); \
      std::abort();                                                              \
    }                                                                            \
  } while (false)

#endif  // EDGEDET_FUZZ_EXPECT_H_
