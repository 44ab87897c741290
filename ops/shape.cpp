#include "ops/shape.hpp"

#include <algorithm>
#include <memory>

#include "engine/require.hpp"
#include "engine/sweep.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// A tensor seen as (outer, length, inner) around one axis.
struct Around {
  std::size_t outer = 1, length, inner = 1;
  Around(const Shape& shape, std::size_t axis) : length(shape[axis]) {
    for (std::size_t i = 0; i < axis; ++i) outer *= shape[i];
    for (std::size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
  }
};

// Copies `length` elements of an axis from place `from` of x to place `to` of y.
void copy_range(const Tensor& x, std::size_t from, Tensor& y, std::size_t to, std::size_t length,
                std::size_t axis) {
  const Around a(x.shape(), axis), b(y.shape(), axis);
  for (std::size_t o = 0; o < a.outer; ++o)
    std::copy_n(x.data() + (o * a.length + from) * a.inner, length * a.inner,
                y.data() + (o * b.length + to) * b.inner);
}

Tensor transposed(const Tensor& x, const std::vector<std::size_t>& axes) {
  const std::size_t rank = axes.size();
  Shape shape(rank), step(rank);
  xt::svector<std::size_t, 4> strides(rank);
  std::size_t s = 1;
  for (std::size_t i = rank; i-- > 0;) {
    strides[i] = s;
    s *= x.shape()[i];
  }
  for (std::size_t i = 0; i < rank; ++i) {
    shape[i] = x.shape()[axes[i]];
    step[i] = strides[axes[i]];
  }
  Tensor y = uninitialised(shape);
  if (y.size() == 0) return y;
  const Scalar* from = x.data();
  Scalar* to = y.data();
  xt::svector<std::size_t, 4> at(rank, std::size_t{0});
  const std::size_t row = shape[rank - 1], row_step = step[rank - 1];
  for (;;) {
    for (std::size_t i = 0; i < row; ++i) to[i] = from[i * row_step];
    to += row;
    std::size_t axis = rank - 1;
    for (;;) {
      if (axis == 0) return y;
      --axis;
      from += step[axis];
      if (++at[axis] < shape[axis]) break;
      from -= step[axis] * shape[axis];
      at[axis] = 0;
    }
  }
}

}  // namespace

Var reshape(Var x, const Shape& shape) { return reshaped(x, shape); }

Var expand_dims(Var x, int axis) {
  Shape shape(x.shape().size() + 1, 1);
  const std::size_t a = axis_of("expand_dims", axis, shape);
  for (std::size_t i = 0, k = 0; i < shape.size(); ++i)
    if (i != a) shape[i] = x.shape()[k++];
  return reshaped(x, shape);
}

Var squeeze(Var x, int axis) {
  const std::size_t a = axis_of("squeeze", axis, x.shape());
  if (x.shape()[a] != 1) refuse("squeeze: axis ", a, " of ", x.shape(), "; need length 1");
  Shape shape(x.shape().size() - 1);
  for (std::size_t i = 0, k = 0; i < x.shape().size(); ++i)
    if (i != a) shape[k++] = x.shape()[i];
  return reshaped(x, shape);
}

Var transpose(Var x, const Axes& axes) {
  const std::size_t rank = x.shape().size();
  std::vector<std::size_t> order(rank);
  for (std::size_t i = 0; i < rank; ++i) order[i] = rank - 1 - i;
  if (!axes.empty()) {
    std::vector<bool> seen(rank, false);
    order.clear();
    for (int a : axes) order.push_back(axis_of("transpose", a, x.shape()));
    for (std::size_t o : order) seen[o] = true;
    if (order.size() != rank || std::find(seen.begin(), seen.end(), false) != seen.end())
      refuse("transpose: ", axes.size(), " axes for ", x.shape(), "; need each axis once");
  }
  if (rank == 0) return reshape(x, {});
  Axes back(rank);
  for (std::size_t i = 0; i < rank; ++i) back[order[i]] = static_cast<int>(i);
  return x.tape->record(
      "transpose", {x}, transposed(x.value(), order),
      [back](BackwardContext& ctx) { ctx.give(0, transpose(ctx.gradient(), back)); });
}

Var broadcast(Var x, const Shape& shape) {
  if (!broadcasts_to(x.shape(), shape))
    refuse("broadcast: x is ", x.shape(), "; does not stretch to ", shape);
  return broadcast_to(x, shape);
}

Var concatenate(const std::vector<Var>& parts, int axis) {
  Tape& tape = tape_of("concatenate", parts);
  Shape shape = parts[0].shape();
  const std::size_t a = axis_of("concatenate", axis, shape);
  std::vector<std::size_t> ends;
  shape[a] = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Shape other = parts[i].shape(), wanted = shape;
    if (other.size() == shape.size()) {
      shape[a] += other[a];
      other[a] = wanted[a] = 0;
    }
    if (other != wanted)
      refuse("concatenate: part ", i, " is ", parts[i].shape(), ", part 0 is ", parts[0].shape(),
             "; need equal lengths on all axes but ", a);
    ends.push_back(shape[a]);
  }
  Tensor y = uninitialised(shape);
  for (std::size_t i = 0; i < parts.size(); ++i)
    copy_range(parts[i].value(), 0, y, i ? ends[i - 1] : 0, ends[i] - (i ? ends[i - 1] : 0), a);
  return tape.record("concatenate", parts, std::move(y), [a, ends](BackwardContext& ctx) {
    for (std::size_t i = 0; i < ends.size(); ++i)
      if (ctx.wants(i))
        ctx.give(i, slice(ctx.gradient(), i ? ends[i - 1] : 0, ends[i], static_cast<int>(a)));
  });
}

Var stack(const std::vector<Var>& parts, int axis) {
  tape_of("stack", parts);
  for (std::size_t i = 1; i < parts.size(); ++i)
    if (parts[i].shape() != parts[0].shape())
      refuse("stack: part ", i, " is ", parts[i].shape(), ", part 0 is ", parts[0].shape(),
             "; need equal shapes");
  axis_of("stack", axis, Shape(parts[0].shape().size() + 1, 1));
  std::vector<Var> thick;
  for (Var p : parts) thick.push_back(expand_dims(p, axis));
  return concatenate(thick, axis);
}

Var slice(Var x, std::size_t begin, std::size_t end, int axis) {
  const std::size_t a = axis_of("slice", axis, x.shape()), length = x.shape()[a];
  if (begin > end || end > length)
    refuse("slice: ", begin, "..", end, " of axis ", a, " of ", x.shape(),
           "; need begin <= end <= ", length);
  Shape shape = x.shape();
  shape[a] = end - begin;
  Tensor y = uninitialised(shape);
  copy_range(x.value(), begin, y, 0, end - begin, a);
  return x.tape->record("slice", {x}, std::move(y),
                        [axis, begin, end, length](BackwardContext& ctx) {
                          ctx.give(0, pad(ctx.gradient(), begin, length - end, axis));
                        });
}

Var pad(Var x, std::size_t before, std::size_t after, int axis) {
  const std::size_t a = axis_of("pad", axis, x.shape()), length = x.shape()[a];
  Shape shape = x.shape();
  if (before > kMostBytes || after > kMostBytes)
    refuse("pad: before is ", before, ", after is ", after, "; need numbers of elements");
  shape[a] += before + after;
  Tensor y = zeros(shape);
  copy_range(x.value(), 0, y, before, length, a);
  return x.tape->record("pad", {x}, std::move(y), [axis, before, length](BackwardContext& ctx) {
    ctx.give(0, slice(ctx.gradient(), before, before + length, axis));
  });
}

namespace {

using Indices = std::shared_ptr<const std::vector<std::size_t>>;

Var take_shared(Var x, const Indices& indices, std::size_t axis);

// The transpose of take: element k of an axis of x is added to element indices[k] of one of
// `length`.
Var put_shared(Var x, const Indices& indices, std::size_t axis, std::size_t length) {
  Shape shape = x.shape();
  shape[axis] = length;
  Tensor y = zeros(shape);
  const Around from(x.shape(), axis), to(shape, axis);
  for (std::size_t o = 0; o < from.outer; ++o)
    for (std::size_t k = 0; k < from.length; ++k) {
      const Scalar* source = x.value().data() + (o * from.length + k) * from.inner;
      Scalar* target = y.data() + (o * to.length + (*indices)[k]) * to.inner;
#pragma omp simd
      for (std::size_t i = 0; i < from.inner; ++i) target[i] += source[i];
    }
  return x.tape->record("put", {x}, std::move(y), [indices, axis](BackwardContext& ctx) {
    ctx.give(0, take_shared(ctx.gradient(), indices, axis));
  });
}

Var take_shared(Var x, const Indices& indices, std::size_t axis) {
  Shape shape = x.shape();
  shape[axis] = indices->size();
  Tensor y = uninitialised(shape);
  const Around from(x.shape(), axis), to(shape, axis);
  for (std::size_t o = 0; o < to.outer; ++o)
    for (std::size_t k = 0; k < to.length; ++k)
      std::copy_n(x.value().data() + (o * from.length + (*indices)[k]) * from.inner, from.inner,
                  y.data() + (o * to.length + k) * to.inner);
  return x.tape->record("take", {x}, std::move(y), [indices, axis](BackwardContext& ctx) {
    ctx.give(0, put_shared(ctx.gradient(), indices, axis, ctx.in(0).shape()[axis]));
  });
}

Var gather_shared(Var x, const Indices& indices, const Shape& shape);

Var scatter_shared(Var x, const Indices& indices, const Shape& shape) {
  Tensor y = zeros(shape);
  for (std::size_t i = 0; i < indices->size(); ++i) y.data()[(*indices)[i]] += x.value().data()[i];
  return x.tape->record("scatter", {x}, std::move(y), [indices](BackwardContext& ctx) {
    ctx.give(0, gather_shared(ctx.gradient(), indices, ctx.in(0).shape()));
  });
}

Var gather_shared(Var x, const Indices& indices, const Shape& shape) {
  Tensor y = uninitialised(shape);
  for (std::size_t i = 0; i < indices->size(); ++i) y.data()[i] = x.value().data()[(*indices)[i]];
  return x.tape->record("gather", {x}, std::move(y), [indices](BackwardContext& ctx) {
    ctx.give(0, scatter_shared(ctx.gradient(), indices, ctx.in(0).shape()));
  });
}

void require_indices(const char* op, const std::vector<std::size_t>& indices, const Shape& many,
                     const Shape& into) {
  if (indices.size() != size_of(many))
    refuse(op, ": ", indices.size(), " indices for ", many, "; need ", size_of(many));
  const std::size_t n = size_of(into);
  for (std::size_t i : indices)
    if (i >= n) refuse(op, ": index ", i, " into ", into, "; need less than ", n);
}

}  // namespace

Var take(Var x, const std::vector<std::size_t>& indices, int axis) {
  const std::size_t a = axis_of("take", axis, x.shape()), length = x.shape()[a];
  for (std::size_t i : indices)
    if (i >= length)
      refuse("take: index ", i, " on axis ", a, " of ", x.shape(), "; need less than ", length);
  return take_shared(x, std::make_shared<const std::vector<std::size_t>>(indices), a);
}

Var gather(Var x, const std::vector<std::size_t>& indices, const Shape& shape) {
  require_indices("gather", indices, shape, x.shape());
  return gather_shared(x, std::make_shared<const std::vector<std::size_t>>(indices), shape);
}

Var scatter(Var x, const std::vector<std::size_t>& indices, const Shape& shape) {
  require_indices("scatter", indices, x.shape(), shape);
  return scatter_shared(x, std::make_shared<const std::vector<std::size_t>>(indices), shape);
}

Tensor one_hot(const std::vector<std::size_t>& labels, std::size_t classes) {
  Tensor t = zeros({labels.size(), classes});
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= classes)
      refuse("one_hot: label ", labels[i], " at ", i, "; need less than ", classes);
    t.data()[i * classes + labels[i]] = 1;
  }
  return t;
}

ARGTAPE_END
