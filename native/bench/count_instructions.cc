// A plugin for qemu's user mode that counts the guest's instructions:
//   qemu-aarch64 -plugin ./libedgedet_count_instructions.so -d plugin PROGRAM
// prints `instructions N` to standard error when the program ends.
//
// Debian ships qemu without the header of its plugin interface; the few declarations needed are
// those of version 1 of that interface (qemu 4.2 to 8.x).

#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>

extern "C" {

using qemu_plugin_id_t = uint64_t;
struct qemu_info_t;
struct qemu_plugin_tb;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*callback)(qemu_plugin_id_t, qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_inline(qemu_plugin_tb* block, qemu_plugin_op operation,
                                              void* counter, uint64_t value);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, void*),
                                    void* data);
size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb* block);
void qemu_plugin_outs(const char* text);

}  // extern "C"

namespace {

uint64_t instructions = 0;

void Translated(qemu_plugin_id_t, qemu_plugin_tb* block) {
  qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &instructions,
                                           qemu_plugin_tb_n_insns(block));
}

void Finished(qemu_plugin_id_t, void*) {
  char line[64];
  std::snprintf(line, sizeof(line), "instructions %" PRIu64 "\n", instructions);
  qemu_plugin_outs(line);
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id,
                                                               const qemu_info_t*, int, char**) {
  qemu_plugin_register_vcpu_tb_trans_cb(id, Translated);
  qemu_plugin_register_atexit_cb(id, Finished, nullptr);
  return 0;
}

}  // extern "C"
