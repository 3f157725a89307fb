#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "edgedet/isa.h"

// The tests run once for each instruction set, named by EDGEDET_FORCE_ISA. On a machine without it
// they would test another one twice: they are skipped (exit code 77, as ctest is told).
int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* forced = std::getenv("EDGEDET_FORCE_ISA");
  if (forced != nullptr && std::strcmp(forced, edgedet::ActiveIsa()) != 0 &&
      !testing::GTEST_FLAG(list_tests)) {
    std::printf("this machine does not run %s\n", forced);
    return 77;
  }
  return RUN_ALL_TESTS();
}
