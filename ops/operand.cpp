#include "ops/operand.hpp"

#include "engine/require.hpp"

ARGTAPE_PUBLIC_BEGIN

Tape& tape_among(const char* op, const Operand* const* x, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    if (x[i]->is_var()) return x[i]->var.tape ? *x[i]->var.tape : tape_of(op, x[i]->var);
  refuse(op, ": no operand is a Var; need one at least, as tape.constant(...)");
}

ARGTAPE_END
