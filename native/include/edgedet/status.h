#ifndef EDGEDET_STATUS_H_
#define EDGEDET_STATUS_H_

namespace edgedet {

// What a call came to. Nothing throws: the library is built without exceptions.
enum class Status {
  kOk,
  kInvalidArgument,
  kOutOfMemory,
};

}  // namespace edgedet

#endif  // EDGEDET_STATUS_H_
