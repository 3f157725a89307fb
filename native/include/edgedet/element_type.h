#ifndef EDGEDET_ELEMENT_TYPE_H_
#define EDGEDET_ELEMENT_TYPE_H_

namespace edgedet {

// Element types of the tensors that networks take and give.
enum class ElementType { kFloat32, kInt8, kUint8, kInt16 };

}  // namespace edgedet

#endif  // EDGEDET_ELEMENT_TYPE_H_
