// What `ov::Core::add_extension` finds in this library.

#include <memory>
#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <vector>

#include "fusion_op.h"

OPENVINO_CREATE_EXTENSIONS(std::vector<ov::Extension::Ptr>(
    {std::make_shared<ov::OpExtension<edgedet::openvino::FusionOp>>()}));
