#include <new>
#include <string>
#include <vector>

#include "bindings.h"
#include "edgedet/isa.h"

namespace edgedet::python {

namespace py = pybind11;

void Check(Status status, const char* function) {
  switch (status) {
    case Status::kOk:
      return;
    case Status::kOutOfMemory:
      throw std::bad_alloc();
    case Status::kInvalidArgument:
      throw py::value_error(std::string(function) + ": an argument is out of range");
  }
}

ElementType TypeOf(const py::array& array, const char* name) {
  // array_t::check_ also refuses arrays of the other byte order.
  if (py::isinstance<py::array_t<float>>(array)) return ElementType::kFloat32;
  if (py::isinstance<py::array_t<int8_t>>(array)) return ElementType::kInt8;
  if (py::isinstance<py::array_t<uint8_t>>(array)) return ElementType::kUint8;
  if (py::isinstance<py::array_t<int16_t>>(array)) return ElementType::kInt16;
  throw py::value_error(std::string(name) + " must be float32, int8, uint8 or int16");
}

namespace {

std::vector<std::string> Isas() {
  const char* names[8] = {};
  const size_t count = AvailableIsas(names, 8);
  return {names, names + (count < 8 ? count : 8)};
}

}  // namespace
}  // namespace edgedet::python

PYBIND11_MODULE(_native, module) {
  module.doc() = "Native kernels; use them through edgedet.ops.";
  module.def("isa", &edgedet::ActiveIsa);
  module.def("isas", &edgedet::python::Isas);
  edgedet::python::BindBoxes(module);
  edgedet::python::BindFusion(module);
  edgedet::python::BindLetterbox(module);
  edgedet::python::BindPostprocess(module);
}
