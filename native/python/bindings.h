#ifndef EDGEDET_PYTHON_BINDINGS_H_
#define EDGEDET_PYTHON_BINDINGS_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "edgedet/element_type.h"
#include "edgedet/status.h"

// edgedet.ops checks arguments and words the errors; the bindings refuse what would be unsafe.
namespace edgedet::python {

void BindBoxes(pybind11::module_& module);
void BindFusion(pybind11::module_& module);
void BindLetterbox(pybind11::module_& module);
void BindPostprocess(pybind11::module_& module);

// Throws ValueError or MemoryError for what is not kOk.
void Check(Status status, const char* function);

// Throws ValueError unless `array` holds float32, int8, uint8 or int16 in native byte order.
ElementType TypeOf(const pybind11::array& array, const char* name);

}  // namespace edgedet::python

#endif  // EDGEDET_PYTHON_BINDINGS_H_
