#include "models/units.hpp"

#include "engine/require.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// x's shape with its last `drop` axes replaced by `tail`.
Shape with_tail(const Shape& shape, std::size_t drop, std::initializer_list<std::size_t> tail) {
  Shape out(shape.begin(), shape.end() - static_cast<std::ptrdiff_t>(drop));
  for (std::size_t n : tail) out.push_back(n);
  return out;
}

}  // namespace

Var Units::logits(Var h) const {
  const Shape& shape = h.shape();
  require(!shape.empty() && shape.back() == width(), "Units::logits: h is ", shape, "; need (..., ",
          width(), ")");
  if (categories != 2) return reshape(h, with_tail(shape, 1, {count, categories}));
  return pad(reshape(h, with_tail(shape, 1, {count, 1})), 1, 0, -1);
}

Var Units::values(Var choice) const {
  const Shape& shape = choice.shape();
  require(shape.size() >= 2 && shape[shape.size() - 2] == count && shape.back() == categories,
          "Units::values: the choice is ", shape, "; need (..., ", count, ", ", categories, ")");
  const Var kept = categories == 2 ? slice(choice, 1, 2, -1) : choice;
  return reshape(kept, with_tail(shape, 2, {width()}));
}

ARGTAPE_END
